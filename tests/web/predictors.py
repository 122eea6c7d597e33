"""The predictor as the API sees it: an address that answers. What it answers is made by the real one's own classes."""

import json

import httpx
from fastapi import FastAPI

from sdcn_core.inference.prediction import FoundBox, Prediction, Seconds
from service.jobs.answers import Problem
from service.predictor import Predictor

FOUND = Prediction(
    width=150,
    height=150,
    detections=(
        FoundBox("kite", 0.91, (20.0, 30.0, 90.0, 120.0)),
        FoundBox("<b>drum</b>", 0.42, (60.0, 10.0, 140.0, 70.0)),
        FoundBox("kite", 0.08, (0.0, 0.0, 9.0, 9.0)),
    ),
    num_proposals=812,
    seconds=Seconds(proposals=0.31, network=0.05, nms=0.001),
)


def attach_predictor(app: FastAPI, *, prediction: Prediction = FOUND, status: int = 200) -> list[httpx.Request]:
    """Give the application a predictor that finds this; the requests it gets."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if status != 200:
            told = Problem(title="refused", status=status, detail="image photo.png is broken: send another")
            return httpx.Response(status, content=told.model_dump_json())
        content = {"model": request.url.params["model"], "images": [{"file": "image"} | prediction.to_json()]}
        return httpx.Response(200, content=json.dumps(content))

    transport = httpx.MockTransport(answer)
    app.state.predictor = Predictor("http://predictor.test", "secret", 5.0, transport=transport)
    return asked
