{{- define "argenseg.name" -}}
{{- printf "%s-argenseg" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{- define "argenseg.selector" -}}
app.kubernetes.io/name: argenseg
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "argenseg.labels" -}}
{{ include "argenseg.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* A Deployment. Arguments: root, role, image, values (of the role), and optional container (more of its fields). */}}
{{- define "argenseg.deployment" -}}
{{- $root := .root -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "argenseg.name" $root }}-{{ .role }}
  labels:
    {{- include "argenseg.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
spec:
  {{- if not .isScaled }}
  replicas: {{ .values.replicas }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "argenseg.selector" $root | nindent 6 }}
      app.kubernetes.io/component: {{ .role }}
  template:
    metadata:
      labels:
        {{- include "argenseg.labels" $root | nindent 8 }}
        app.kubernetes.io/component: {{ .role }}
      annotations:
        checksum/settings: {{ toJson $root.Values.settings | sha256sum }}
    spec:
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 60
      securityContext:
        runAsNonRoot: true
        runAsUser: 10001
        runAsGroup: 10001
        fsGroup: 10001
        fsGroupChangePolicy: OnRootMismatch
        seccompProfile: {type: RuntimeDefault}
      {{- with $root.Values.images.pullSecrets }}
      imagePullSecrets: {{ toYaml . | nindent 8 }}
      {{- end }}
      {{- with .values.nodeSelector }}
      nodeSelector: {{ toYaml . | nindent 8 }}
      {{- end }}
      {{- with .values.tolerations }}
      tolerations: {{ toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: {{ .role }}
          image: {{ .image }}
          imagePullPolicy: {{ $root.Values.images.pullPolicy }}
          args: [{{ .role }}]
          envFrom:
            - configMapRef: {name: {{ include "argenseg.name" $root }}}
            - secretRef: {name: {{ $root.Values.secretName }}}
          {{- with .env }}
          env: {{ toYaml . | nindent 12 }}
          {{- end }}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
          {{- toYaml .container | nindent 10 }}
          resources: {{ toYaml .values.resources | nindent 12 }}
          volumeMounts:
            - {name: data, mountPath: /data}
            - {name: tmp, mountPath: /tmp}
            {{- if $root.Values.models.existingClaim }}
            - {name: models, mountPath: /models, readOnly: true}
            {{- end }}
      volumes:
        - name: data
          persistentVolumeClaim:
            claimName: {{ $root.Values.data.existingClaim | default (include "argenseg.name" $root) }}
        - name: tmp
          emptyDir: {}
        {{- with $root.Values.models.existingClaim }}
        - name: models
          persistentVolumeClaim: {claimName: {{ . }}, readOnly: true}
        {{- end }}
{{- end }}

{{/* Ready as `argenseg health` says. No liveness: a process that dies ends its container, and restarts while Redis is
away would only cost the model's load. */}}
{{- define "argenseg.probes" -}}
readinessProbe:
  exec: {command: [argenseg, health, {{ . }}]}
  periodSeconds: 30
  timeoutSeconds: 10
startupProbe:
  exec: {command: [argenseg, health, {{ . }}]}
  periodSeconds: 10
  timeoutSeconds: 10
  failureThreshold: 180 # half an hour: a large model comes from a slow disk, or from the Hub
{{- end }}
