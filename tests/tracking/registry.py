"""What the tests of the model registry share."""

BAD = (400, "INVALID_PARAMETER_VALUE")
GONE = (404, "RESOURCE_DOES_NOT_EXIST")
RM = "/registered-models/"
MV = "/model-versions/"


def get_model(api, name):
    return api.get(RM + "get", name=name)["registered_model"]


def get_version(api, name, version):
    return api.get(MV + "get", name=name, version=version)["model_version"]
