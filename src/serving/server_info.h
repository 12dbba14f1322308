// What a server tells about itself and its models beside their metadata: extensions, statistics and configuration in
// the shapes of Triton, whose clients ask for them. Pure functions.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "serving/repository.h"

namespace mr::serving {

inline constexpr std::string_view kServerName = "millrace";
inline constexpr std::string_view kServerVersion = "0.1.0";
// The extensions of the V2 protocol that are spoken.
const std::vector<std::string_view>& server_extensions();
std::string server_metadata();
std::string statistics(const std::vector<std::shared_ptr<const Model>>& models);
// The inputs of a model as its metadata names them.
std::vector<Signature::Out> input_tensors(const Signature& signature);
// How a model's requests are read that do not say it: by its settings, else by its signature.
std::string_view request_codec(const Model& model);
std::string model_config(const Model& model);

}  // namespace mr::serving
