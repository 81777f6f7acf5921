# `audenoise predict` and `audenoise app`, and no more: without TensorFlow, which only training needs.
#
#   docker build -t audenoise .
#   docker run --rm -v "$PWD:/data" --user "$(id -u):$(id -g)" audenoise predict noisy.wav -o clean.wav
#   docker run --rm -p 127.0.0.1:7860:7860 audenoise app --host 0.0.0.0
FROM python:3.13-slim

# matplotlib keeps its list of fonts here, whoever the user is.
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 MPLCONFIGDIR=/tmp/matplotlib

# A part of pyproject.toml's dependencies, with its bounds: tests/test_house.py compares them.
RUN pip install \
    "click>=8.2" \
    "filelock>=3.16" \
    "jaxtyping>=0.2.36" \
    "matplotlib>=3.9.2" \
    "numpy>=2.1" \
    "onnx>=1.18" \
    "onnxruntime>=1.20" \
    "scipy>=1.14.1" \
    "soundfile>=0.13" \
    "soxr>=0.5" \
    "starlette>=0.46" \
    "tqdm>=4.67" \
    "uvicorn>=0.34"

COPY pyproject.toml README.md LICENSE /src/
COPY audenoise /src/audenoise
COPY models /src/models
# Everything that the package asks for would be 2.8 GB.
RUN pip install --no-deps /src && rm -r /src \
    && useradd --create-home --uid 1000 audenoise \
    && mkdir /data && chown audenoise /data

USER audenoise
WORKDIR /data
EXPOSE 7860
ENTRYPOINT ["audenoise"]
CMD ["--help"]
