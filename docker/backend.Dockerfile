# Backend, publisher, sweeper: all that needs no torch. Build in the repository's root:
#   docker build -f docker/backend.Dockerfile -t argenseg-backend .
# Its first steps are those of worker.Dockerfile, to the letter: both images share their layers.
FROM python:3.11-slim-bookworm AS requirements
WORKDIR /src
COPY pyproject.toml ./
RUN python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
    extras = project["optional-dependencies"]; write = lambda name, *lists: print(*sum(lists, []), sep="\n", file=open(name, "w")); \
    write("/backend.txt", project["dependencies"], extras["postgresql"], extras["s3"]); write("/worker.txt", extras["worker"])'

FROM python:3.11-slim-bookworm
ENV PYTHONUNBUFFERED=1 PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1
# the standard library comes uncompiled, and nothing can be written at run time: each start would compile it again
RUN python -m compileall -q -x '/lib2to3/' /usr/local/lib/python3.11 \
 && useradd --uid 10001 --home-dir /data --create-home argenseg
WORKDIR /src
COPY constraints.txt ./
COPY --from=requirements /backend.txt ./
ARG PIP_TRUSTED_HOST
# the dependencies in layers of their own: a change of our code leaves them as they are
RUN --mount=type=cache,target=/root/.cache/pip pip install --constraint constraints.txt --requirement backend.txt

COPY . .
RUN pip install --no-cache-dir --no-deps . && rm -rf build ./*.egg-info

ENV ARGENSEG_DATA_DIR=/data HOST=0.0.0.0
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 9090
ENTRYPOINT ["argenseg"]
CMD ["backend"]
