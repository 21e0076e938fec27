# The app as an image. By default the small one, which predicts, audits and evaluates; with
#   --build-arg REQUIREMENTS=requirements.txt
# also TensorFlow, to train. docs/hosting.md tells how it is run; compose.yaml runs it.
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS build
ARG REQUIREMENTS=requirements-predict.txt
COPY ${REQUIREMENTS} /requirements.txt
RUN python3 -m venv /venv && /venv/bin/python -m pip install --no-cache-dir --require-hashes --requirement /requirements.txt
# The folders as pip lays them, which keeps the shipped models out of the folder of a user's own.
COPY covid_cnn /venv/app/covid_cnn
COPY streamlit_app.py /venv/app/covid_cnn/shipped/
COPY .streamlit /venv/app/covid_cnn/shipped/.streamlit
COPY models /venv/app/covid_cnn/shipped/models
RUN /venv/bin/python -m compileall -q /venv/app

FROM ${BASE}
RUN useradd --create-home --uid 1000 visitor \
	&& mkdir -p /home/visitor/covid_cnn/data /home/visitor/covid_cnn/models /home/visitor/covid_cnn/runs \
	&& chown -R visitor /home/visitor
COPY --from=build /venv /venv
USER visitor
WORKDIR /home/visitor
ENV PATH=/venv/bin:$PATH PYTHONPATH=/venv/app PYTHONDONTWRITEBYTECODE=1 \
	MPLCONFIGDIR=/tmp/matplotlib COVID_CNN_HOME=/home/visitor/covid_cnn \
	COVID_CNN_DEMO=1 STREAMLIT_SERVER_ADDRESS=0.0.0.0 STREAMLIT_SERVER_HEADLESS=true
EXPOSE 8501
VOLUME ["/home/visitor/covid_cnn/data", "/home/visitor/covid_cnn/models", "/home/visitor/covid_cnn/runs"]
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
	CMD ["python", "-c", "import urllib.request as web; web.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
CMD ["python", "-m", "streamlit", "run", "/venv/app/covid_cnn/shipped/streamlit_app.py"]
