"""tritonclient, unmodified: HTTP and gRPC, JSON and binary tensors both ways. Prints what it got."""

import sys

import numpy as np
import tritonclient.grpc as grpc
import tritonclient.http as http
from tritonclient.utils import InferenceServerException

http_address, grpc_address, photo = sys.argv[1:]
picture = open(photo, "rb").read()


def check(result, expected=b"thing 7"):
    label = result.as_numpy("label")
    assert label.shape == (1,), label
    text = label[0] if isinstance(label[0], bytes) else label[0].encode()
    assert text == expected, label
    assert result.as_numpy("class").tolist() == [7]


def pictures(module):
    tensor = module.InferInput("image", [1], "BYTES")
    return tensor, np.array([picture], dtype=object)


client = http.InferenceServerClient(http_address)
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("imagenet")
assert client.get_server_metadata()["name"] == "dropbear"
assert client.get_model_metadata("imagenet")["inputs"][0]["name"] == "image"
for compression in [None, "gzip", "deflate"]:
    for outputs in [None, ["label", "class", "tally"]]:
        tensor, data = pictures(http)
        tensor.set_data_from_numpy(data, binary_data=True)
        for binary in [True, False]:
            wanted = outputs and [http.InferRequestedOutput(name, binary_data=binary) for name in outputs]
            result = client.infer("imagenet", [tensor], outputs=wanted, request_compression_algorithm=compression)
            check(result)
            print("certificate", result.get_response()["parameters"]["certificate.0"])
pixels = np.zeros((1, 1, 4, 3), dtype=np.uint8)
pixels[..., 0] = 7
for binary in [True, False]:
    tensor = http.InferInput("image", pixels.shape, "UINT8")
    tensor.set_data_from_numpy(pixels, binary_data=binary)
    check(client.infer("imagenet", [tensor], parameters={"assurance": "decisive"}))
for module, address in [(http, http_address), (grpc, grpc_address)]:
    try:
        other = module.InferenceServerClient(address)
        tensor, data = pictures(module)
        tensor.set_data_from_numpy(np.array([b"no picture"], dtype=object))
        other.infer("imagenet", [tensor])
        raise SystemExit("a text was taken for a picture")
    except InferenceServerException as error:
        assert "not a JPEG or PNG" in str(error), error

client = grpc.InferenceServerClient(grpc_address)
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("imagenet")
assert client.get_model_metadata("imagenet").outputs[0].name == "label"
tensor, data = pictures(grpc)
tensor.set_data_from_numpy(data)
result = client.infer("imagenet", [tensor], request_id="9", parameters={"certify": True})
check(result)
assert result.get_response().id == "9"
print("certificate", result.get_response().parameters["certificate.0"].string_param)
numbers = np.array([[0.5, 1.5, -2.0]], dtype=np.float32)
tensor = grpc.InferInput("INPUT0", [1, 3], "FP32")
tensor.set_data_from_numpy(numbers)
assert (client.infer("echo", [tensor]).as_numpy("OUTPUT0") == numbers).all()
