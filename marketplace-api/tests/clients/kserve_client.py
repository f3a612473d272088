"""The kserve client, unmodified, over REST. Prints what it got."""

import asyncio
import base64
import sys

from kserve import InferInput, InferRequest, RESTConfig
from kserve.inference_client import InferenceRESTClient

http_address, _, photo = sys.argv[1:]
url = f"http://{http_address}"


async def main():
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await client.is_server_live(url) and await client.is_server_ready(url)
    assert await client.is_model_ready(url, "imagenet")
    data = base64.b64encode(open(photo, "rb").read()).decode()
    tensor = InferInput(name="image", shape=[1], datatype="BYTES", data=[data])
    request = InferRequest(model_name="imagenet", infer_inputs=[tensor])
    response = await client.infer(url, request, model_name="imagenet")
    labels = [output for output in response.outputs if output.name == "label"][0]
    assert labels.data == ["thing 7"], labels.data
    print("certificate", response.parameters["certificate.0"])


asyncio.run(main())
