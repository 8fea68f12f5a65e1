# A server without a model: the bundle is mounted.
#   docker build -t instructor-onnx .
#   docker run --rm -p 8080:8080 --read-only --cap-drop ALL -v "$PWD/my-bundle:/bundle:ro" instructor-onnx
# Options go after the image's name: `... instructor-onnx --presets /bundle/presets.json`.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
COPY . /source
RUN python -m venv /opt/instructor-onnx \
    && /opt/instructor-onnx/bin/pip install --no-cache-dir -c /source/constraints.txt '/source[cpu,serve]' \
    && /opt/instructor-onnx/bin/pip uninstall --yes pip

FROM python:${PYTHON}-slim
COPY --from=build /opt/instructor-onnx /opt/instructor-onnx
ENV PATH=/opt/instructor-onnx/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
# 503 until the model is loaded and warmed up
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health', timeout=2)"]
ENTRYPOINT ["instructor-onnx", "serve", "/bundle", "--host", "0.0.0.0", "--port", "8080"]
