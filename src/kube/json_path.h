// The subset of JSONPath that custom kinds' printer columns and the paths of their subresources use. Pure functions.
//   .a.b  ['a.b']  [0]  [-1]  [*]  [?(@.x=="y")]  [?(@.x==true)]  [?(@.n>=2)]  [?(@.x)], and quoted names with dots as
//   \.
#pragma once
#include <string_view>
#include <vector>

#include "kube/object.h"

namespace mr::kube {

// What the path finds, in order; empty when nothing is there or the path is not one of the subset. At most 1,000.
std::vector<const Value*> json_path(const Value& root, std::string_view path);
std::vector<const Value*> json_path(const Object& root, std::string_view path);
// Whether the path is one that json_path understands.
bool json_path_valid(std::string_view path);

}  // namespace mr::kube
