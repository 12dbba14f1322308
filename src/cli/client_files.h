// Manifests from files, folders and standard input. Blocking; plain values.
#pragma once
#include <string>
#include <vector>

#include "kube/object.h"

namespace mr::cli {

struct Manifest {
  std::string from;  // "web.yaml" or "web.yaml, document 2": for error texts
  kube::Object object;
};

// Every object of `files` in order; "-" is standard input, a folder its *.yaml, *.yml and *.json. Lists are taken
// apart. Errors: what is wrong in which file.
Result<std::vector<Manifest>> read_manifests(const std::vector<std::string>& files);
// The objects of one text; `from` names it. YAML with several documents, or JSON texts one after the other.
Result<std::vector<Manifest>> parse_manifests(std::string_view text, const std::string& from);

}  // namespace mr::cli
