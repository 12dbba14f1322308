// The V2 inference request and answer: JSON to a Frame by MLServer's codec rules, an Output to JSON. Thread safe.
#pragma once
#include <expected>
#include <optional>
#include <string>

#include "serving/repository.h"

namespace mr::serving {

// A refusal with its HTTP status and JSON body. No input value and no header of the request is in it.
struct Refusal {
  int status = 400;
  std::string body;
};
Refusal refusal(int status, std::string_view error);  // {"error": …}
// The status of an error that Engine::predict gave.
int engine_status(const Error& e);
Refusal refusal_422(std::string_view type, std::string_view loc_json, std::string_view msg,
                    std::string_view ctx = {});  // {"detail":[…]}

struct InferAnswer {
  std::string id;
  std::string body;
  std::size_t json_size = 0;  // not 0: the body is so much JSON, then binary tensors
};
// Runs one request's body through the model. `json_size`: so many bytes of it are JSON and the rest binary tensors.
std::expected<InferAnswer, Refusal> infer(const Model& model, std::string_view body,
                                          std::optional<std::size_t> json_size = std::nullopt);

}  // namespace mr::serving
