// The environment that a model says it needs: the Python version and the list of packages, from the files that MLflow
// writes beside it. Blocking, pure otherwise. The files are hostile input: options of the installer, and files outside
// the model's folder, are refused.
#pragma once
#include <string>

#include "core/error.h"

namespace mr::serving::python {

struct ModelEnvironment {
  std::string python;        // "3.11.7" or "3.11"; empty: the model does not say
  std::string requirements;  // one a line, as the installer takes them
  std::size_t count = 0;
  // What was read for it, of other lists too: bounded.
  std::size_t lines = 0, lists = 0;
};
// Errors: failed_precondition, when the model brings no list of packages; invalid_argument.
Result<ModelEnvironment> read_environment(const std::string& folder);

}  // namespace mr::serving::python
