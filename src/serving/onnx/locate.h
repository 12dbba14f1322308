// Where an ONNX model's file lies, and where ONNX Runtime's library does. Blocking; pure otherwise. Nothing of the
// model is read here but its MLmodel.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "serving/load.h"

namespace mr::serving::onnx {

// The ONNX model at a path: an MLflow folder of the flavor onnx; a bare .onnx file; a folder with model.onnx or one
// such file, or with numbered versions of that (the last one counts). nullopt: it is none. Errors: it is one, and its
// MLmodel cannot be used.
Result<std::optional<OnnxModel>> find_model(const std::string& path);

// The library at a path that the user gave: a file, or a folder that has it. Errors: not_found.
Result<std::string> library_at(const std::string& path);
// The library in the machine's own folders; empty: there is none.
std::string system_library();
// Where a Python environment with the package onnxruntime has it; empty: it has none.
std::string library_of_environment(const std::string& environment, int python_minor);
// Whether a list of packages (one a line) names onnxruntime.
bool asks_for_onnxruntime(std::string_view requirements);

}  // namespace mr::serving::onnx
