// What MLServer's model-settings.json says of a model, and where such files stand in a repository folder. Blocking;
// plain values.
#pragma once
#include <string>
#include <vector>

#include "core/error.h"
#include "serving/traffic.h"
#include "serving/types.h"

namespace mr::serving {

struct ModelSettings {
  std::string implementation;                   // MLServer's class, or empty
  std::string platform;                         // shown in the metadata
  std::vector<std::string> versions;            // likewise
  std::string content_type;                     // how requests are read that do not say it: np, pd
  std::vector<Signature::Out> inputs, outputs;  // of the metadata, where the model has no signature of its own
  Limits limits;
};

struct ModelSource {
  std::string name;
  std::string version;
  std::string path;
  ModelSettings settings = {};
};

// Every model of a folder: its model-settings.json files at any depth, else the sub-folders with an MLmodel file.
// `limits` are for models that say nothing of their own.
Result<std::vector<ModelSource>> read_repository(const std::string& folder, const Limits& limits);
// The name of a model's one output as the server of that implementation answers it.
std::string output_name_of(const std::string& implementation);

}  // namespace mr::serving
