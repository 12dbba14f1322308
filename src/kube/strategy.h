// What single kinds need beyond the general rules when they are written: addresses of Services, bindings of pods,
// phases. Thread safe: works on the given object and reads the store.
#pragma once
#include "kube/api.h"

namespace mr::kube {

// Before defaults and validation of a new object.
Answer<void> before_create(const Api& api, const Hooks& hooks, const Target& t, Object& object, bool dry_run);
// After defaults, before validation: what follows from the whole object (a CRD's names).
void after_defaults(const Target& t, Object& object);
// Before validation of an update: keeps what clients may not change or need not repeat.
Answer<void> before_update(const Api& api, const Hooks& hooks, const Target& t, Object& next, const Object& current);
// The new object that writing `given` to a subresource of `current` makes. nullopt: no such subresource.
std::optional<Answer<Object>> write_subresource(const Target& t, const Object& given, const Object& current);
// Whether an object whose deletion has begun may go now.
// What a status that a client wrote in part always shows.
void complete_status(const Target& t, Object& o);
bool may_go(const Object& o);

}  // namespace mr::kube
