# A server without a model. After the image's name: the model, where it is not the bundle at /bundle, and then options.
#   docker build -t instructor-onnx .
#   docker run --rm -p 8080:8080 --read-only --cap-drop ALL -v "$PWD/my-bundle:/bundle:ro" instructor-onnx
#   docker run --rm -p 8080:8080 --read-only --cap-drop ALL instructor-onnx instructor-mini --access-log
# docs/serving.md has the rest: presets, keys, ports, models of the hub.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
RUN apt-get update && apt-get install --yes --no-install-recommends g++
COPY . /source
RUN python -m venv /opt/instructor-onnx \
    && /opt/instructor-onnx/bin/pip install --no-cache-dir -c /source/constraints.txt '/source[onnxruntime,serve,hub]' \
    && /opt/instructor-onnx/bin/pip uninstall --yes pip
# where the kernels do not compile, the install succeeds without them
RUN /opt/instructor-onnx/bin/python -c "import instructor_onnx as i; i.INSTRUCTOR('instructor-mini', engine='native')"

FROM python:${PYTHON}-slim
COPY --from=build /opt/instructor-onnx /opt/instructor-onnx
# for files of the hub: a volume mounted there takes over its owner
RUN install --directory --owner 10001 --group 10001 /cache
ENV PATH=/opt/instructor-onnx/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HF_HOME=/cache PORT=8080
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
# 503 until the model is loaded and warmed up
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s \
    CMD ["sh", "-c", "python -c \"import urllib.request as u; u.urlopen('http://localhost:$PORT/health', timeout=2)\""]
# The port comes last: what is listened on is what the health check asks, whatever --port says.
ENTRYPOINT ["sh", "-c", "case ${1:--} in -*) set -- /bundle \"$@\";; esac; exec instructor-onnx serve --host 0.0.0.0 \"$@\" --port \"$PORT\"", "sh"]
