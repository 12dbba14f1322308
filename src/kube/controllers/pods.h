// What workload controllers share: pods made from a template, counted, and seen in the cache before the next step.
// Runs on the Manager's loop.
#pragma once
#include <string>
#include <vector>

#include "kube/kit.h"

namespace mr::kube {

// A pod of `template` for its controlling `owner`. `name` empty: generated from the owner's.
Object pod_of_template(const Object& owner, const Object& pod_template, std::string_view name);
bool pod_active(const Object& pod);  // neither finished nor being deleted
bool pod_ready(const Object& pod);
// Ready for at least `seconds`.
bool pod_available(const Object& pod, std::int64_t seconds);
// Milliseconds until a ready pod counts as available; 0: it does or is not ready.
long until_available_ms(const Object& pod, std::int64_t seconds);

// A name part that names the content: the same template gives the same text.
std::string template_hash(const Object& pod_template, std::int64_t collisions = 0);

// Waits (bounded) until the informer has the object at this revision or a newer one, or no longer has it: the next
// reconcile then counts what this one did.
task::Task<void> seen(const Informer& informer, Key key, std::uint64_t revision);
task::Task<void> seen_gone(const Informer& informer, Key key, std::string uid);

// Deletes pods, best victims first (not running, not ready, youngest); waits until the cache shows it.
std::vector<ObjectPtr> by_deletion_order(std::vector<ObjectPtr> pods);
task::Task<Result<void>> create_pod(Manager& m, const Object& owner, Object pod, std::string_view component);
task::Task<Result<void>> delete_pod(Manager& m, const Object& owner, ObjectPtr pod, std::string_view component);

// Writes the status when it differs from what is there.
task::Task<Result<void>> write_status(Manager& m, const Gvr& r, const Object& current, Object status);

// "25%" or 3 of `total`, rounded up or down.
std::int64_t int_or_percent(const Value* v, std::int64_t total, bool up, std::int64_t otherwise);
// Seconds since 1970 of an RFC 3339 time, 0 when it is none.
std::int64_t unix_of(std::string_view rfc3339);

}  // namespace mr::kube
