// Where an ONNX file keeps the weights that do not lie in it. A file can name any path there, and the library would
// read it: so what is named must be files of the model's own folder. Pure but for check_external_data().
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace mr::serving::onnx {

// The paths that the tensors of a model name, each once. Errors (data_loss): it is no ONNX model.
Result<std::vector<std::string>> external_paths(std::string_view model);

// Reads the file and checks that all of them lie in its folder, through links too. Errors (data_loss).
Result<> check_external_data(const std::string& file);

}  // namespace mr::serving::onnx
