// MLflow model folders: the MLmodel file, its signature, and the model file that it names. Blocking; pure otherwise.
#pragma once
#include <memory>
#include <string>

#include "serving/types.h"

namespace mr::serving {

struct LoadedModel {
  std::shared_ptr<const Engine> engine;  // models of the same files may share one
  Signature signature;
  std::string sklearn_version;
  std::uint64_t memory = 0;  // bytes that the engine takes, about; 0: nobody has counted
};

// A folder with an MLmodel, or with one bare *.joblib, *.pkl, *.pickle or *.skops; or such a file itself. Errors say
// which class, opcode or field is in the way.
Result<LoadedModel> load_model(const std::string& path);

// MLmodel's JSON text of inputs (and outputs) to a signature.
Result<Signature> parse_signature(const std::string& inputs, const std::string& outputs);

}  // namespace mr::serving
