# Stands for heartexlabs/label-studio where no registry is reached: the same version, by pip, the same folder and user.
FROM python:3.11-slim-bookworm
ARG LABEL_STUDIO_VERSION
COPY constraints.txt /tmp/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --root-user-action=ignore --constraint /tmp/constraints.txt "label-studio==$LABEL_STUDIO_VERSION" \
 && useradd --uid 1001 --home-dir /label-studio label-studio \
 && install -d -o 1001 -g 0 /label-studio/data
ENV LABEL_STUDIO_BASE_DATA_DIR=/label-studio/data PYTHONUNBUFFERED=1
WORKDIR /label-studio
USER 1001
VOLUME /label-studio/data
EXPOSE 8080
CMD ["label-studio"]
