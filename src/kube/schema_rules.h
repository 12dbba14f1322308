// What the checks of CustomResourceDefinitions share with the validation of their objects. Pure functions.
#pragma once
#include <optional>
#include <string>

namespace mr::kube {

// What is wrong with a schema's `pattern`, in the real server's words; nullopt: nothing.
std::optional<std::string> pattern_fault(const std::string& pattern);

}  // namespace mr::kube
