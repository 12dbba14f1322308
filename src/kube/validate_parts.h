// Inside of the checks of pods: containers and volumes. Pure functions.
#pragma once
#include <set>
#include <string>

#include "kube/admission_rules.h"

namespace mr::kube {

using VolumeNames = std::set<std::string, std::less<>>;
VolumeNames check_volumes(FieldErrors& e, const Array& volumes, const std::string& path);
void check_containers(FieldErrors& e, const Object& spec, const std::string& path, const VolumeNames& volumes);
// fieldRef of an environment variable (`env`) or of a file of the downward API.
void check_field_ref(FieldErrors& e, const Object& ref, const std::string& path, bool env);
void check_resource_ref(FieldErrors& e, const Object& ref, const std::string& path);
// A path below a volume: relative, without `..`.
void check_relative(FieldErrors& e, std::string_view v, const std::string& path);
// A port by number or name.
void check_port(FieldErrors& e, const Value* v, const std::string& path);

}  // namespace mr::kube
