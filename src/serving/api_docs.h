// The OpenAPI document of the V2 protocol, for a server or for one model with an example of its own, and a page to try
// it in a browser. Pure functions.
#pragma once
#include <string>

#include "serving/repository.h"

namespace mr::serving {

// `model`: null for the server's.
std::string openapi_document(const Model* model);
// A request that the model's signature takes, with placeholder values.
std::string example_request(const Model& model);
// One page without anything from elsewhere; it reads the document beside it.
std::string try_page(const Model* model);

}  // namespace mr::serving
