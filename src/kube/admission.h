// What happens to an object between the wire and the store: defaults, checks, warnings, for built-in kinds by rules in
// code and for CRDs by their structural schema. Pure functions of their arguments: thread safe.
#pragma once
#include <string>
#include <vector>

#include "kube/errors.h"
#include "kube/kinds.h"

namespace mr::kube {

// Fills in what the real API server fills in on writes and reads (e.g. a container's terminationMessagePath, a
// Service's sessionAffinity, a CRD schema's `default`s). `version` is the one of the request.
void set_defaults(const Kind& kind, const KindVersion& version, Object& object);

// Every fault, with the field paths and texts of the real server; empty: valid. `before` is null on create.
// For CRDs: structural schema (types, required, enums, patterns, bounds, formats, x-kubernetes-int-or-string).
std::vector<FieldError> validate(const Kind& kind, const KindVersion& version, const Object& object,
                                 const Object* before);

// Removes what the kind's schema does not know (pruning); says each removed path, in order, as the strict decoder
// words it: `unknown field "spec.x"`.
std::vector<std::string> prune(const Kind& kind, const KindVersion& version, Object& object);

// Warnings that the real server gives (Warning: 299 headers), and ours: parts that are accepted but not enforced yet.
std::vector<std::string> warnings(const Kind& kind, const KindVersion& version, const Object& object);

// The Kind that a CustomResourceDefinition describes (its structural schema becomes Types), or what is wrong with it.
std::expected<KindPtr, std::vector<FieldError>> kind_of_crd(const Object& crd);

}  // namespace mr::kube
