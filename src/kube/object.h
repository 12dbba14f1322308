// A Kubernetes object as a document, and what every room asks of one: names, paths, ownership, conditions.
// Objects in the store and in caches are immutable and shared (ObjectPtr): copy, change the copy, write it. Pure
// functions.
#pragma once
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace mr::kube {

using Value = boost::json::value;
using Object = boost::json::object;
using Array = boost::json::array;
using ObjectPtr = std::shared_ptr<const Object>;

// Which collection of the API: group "" is core. `plural` in lower case ("pods").
struct Gvr {
  std::string group, version, plural;
  bool operator==(const Gvr&) const = default;
};
struct Key {
  std::string ns, name;  // ns empty: cluster scoped
  auto operator<=>(const Key&) const = default;
};

// "" when the metadata has none.
std::string_view name_of(const Object& o);
std::string_view namespace_of(const Object& o);
std::string_view uid_of(const Object& o);
std::string_view kind_of(const Object& o);
std::string_view api_version_of(const Object& o);
Key key_of(const Object& o);
// 0 when absent or not a number of ours.
std::uint64_t resource_version_of(const Object& o);
bool deleting(const Object& o);  // has a deletionTimestamp

// metadata, made when absent.
Object& metadata(Object& o);
// The member at a dotted path ("spec.template.spec"; an index is a number: "spec.containers.0.name"), or nullptr.
const Value* at(const Object& o, std::string_view path);
const Value* at(const Value& v, std::string_view path);
// Texts and numbers at a path, with a default when absent or of another type.
std::string_view text_at(const Object& o, std::string_view path, std::string_view otherwise = {});
std::int64_t int_at(const Object& o, std::string_view path, std::int64_t otherwise = 0);
bool bool_at(const Object& o, std::string_view path, bool otherwise = false);
// The object or array at a path, or an empty one.
const Object& object_at(const Object& o, std::string_view path);
const Array& array_at(const Object& o, std::string_view path);
std::string_view label(const Object& o, std::string_view key);
std::string_view annotation(const Object& o, std::string_view key);
// The object at a dotted path of names, made where absent; what stands there of another type is replaced.
Object& ensure(Object& o, std::string_view path);

// {"metadata":{"name","namespace"}, apiVersion, kind}.
Object make_object(std::string_view api_version, std::string_view kind, std::string_view ns, std::string_view name);
// An entry of metadata.ownerReferences for `owner`.
Object owner_reference(const Object& owner, bool controller = true);
// The controlling owner reference, or nullptr.
const Object* controller_of(const Object& o);
// Sets the condition `type` in status.conditions; lastTransitionTime changes only with the status. True: it changed.
bool set_condition(Object& o, std::string_view type, std::string_view status, std::string_view reason,
                   std::string_view message);
const Object* condition(const Object& o, std::string_view type);

// Whether the object's labels satisfy a LabelSelector ({matchLabels, matchExpressions}); an empty one matches all.
bool matches_selector(const Object& selector, const Object& labels);
// Whether `labels` has every pair of `wanted` (a Service's spec.selector).
bool has_labels(const Object& labels, const Object& wanted);

// Equal as JSON: the order of members and the kind of a number (1, 1.0) do not matter.
bool same(const Value& a, const Value& b);

// RFC 3339 with seconds, UTC: the form of metav1.Time. micro_now(): metav1.MicroTime.
std::string now_text();
std::string micro_now_text();

}  // namespace mr::kube
