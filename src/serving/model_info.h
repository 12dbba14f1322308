// What an MLmodel file says besides the model itself: its flavors, who wrote it, its signature and its logged example.
// Blocking; hostile input.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "core/error.h"

namespace mr::serving {

struct ModelInfo {
  std::vector<std::string> flavors;
  std::string loader_module;  // of python_function; empty: it has none
  std::string mlflow_version;
  std::map<std::string, std::string> versions;      // "sklearn_version", "xgb_version", ... by key
  std::string inputs, outputs, params;              // the signature's JSON texts
  bool type_hint = false;                           // the signature was made from a function's type hint
  std::string example;                              // input_example.json, a path in the folder; empty: none was logged
  std::string serving_example;                      // the same as MLflow's scoring protocol takes it
  std::string onnx_file;                            // of the flavor onnx: the model's file
  std::map<std::string, std::string> onnx_options;  // and what its session is to be told
};
// Errors: not_found, when the folder has no MLmodel.
Result<ModelInfo> read_model_info(const std::string& folder);

// A small file of the model's folder by a path that the MLmodel names. Errors: one that leads out of the folder.
Result<std::string> read_model_text(const std::string& folder, const std::string& relative, std::size_t limit);

}  // namespace mr::serving
