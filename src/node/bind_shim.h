// The library that is preloaded into pods' processes (bind_shim.c), carried inside the program.
#pragma once
#include <string>

#include "core/error.h"

namespace mr::node {

// Writes it into `folder` and answers its path.
Result<std::string> write_bind_shim(const std::string& folder);

}  // namespace mr::node
