// MLflow model folders: the MLmodel file, its signature, and the model file that it names. Blocking; pure otherwise.
#pragma once
#include <memory>
#include <string>

#include "serving/types.h"

namespace mr::serving {

struct LoadedModel {
  std::unique_ptr<Engine> engine;
  Signature signature;
  std::string sklearn_version;
};

// A folder with an MLmodel, or with one bare *.joblib, *.pkl, *.pickle or *.skops; or such a file itself. Errors say
// which class, opcode or field is in the way.
Result<LoadedModel> load_model(const std::string& path);

// MLmodel's JSON text of inputs (and outputs) to a signature.
Result<Signature> parse_signature(const std::string& inputs, const std::string& outputs);

}  // namespace mr::serving
