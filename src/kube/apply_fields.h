// The parts of objects that field managers own: sets of field paths (FieldsV1), and the walks over documents that
// server-side apply is made of. Pure functions; values without sharing.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kube/object.h"
#include "kube/schema.h"

namespace mr::kube {

// A set of paths, as a tree. Children are named as FieldsV1 names them: f:name, k:{"name":"x"}, v:"x".
struct FieldSet {
  bool member = false;  // the path to here is in the set
  std::map<std::string, FieldSet, std::less<>> children;

  [[nodiscard]] bool empty() const;
  bool operator==(const FieldSet&) const = default;
  [[nodiscard]] const FieldSet* find(std::string_view element) const;

  // The document of FieldsV1 and back; nullopt when it is none.
  [[nodiscard]] Object to_json() const;
  static std::optional<FieldSet> from_json(const Object& o);
};
FieldSet unite(FieldSet a, const FieldSet& b);
FieldSet intersect(const FieldSet& a, const FieldSet& b);
// Without the paths of `b`; with what is below them, when `below`.
FieldSet subtract(const FieldSet& a, const FieldSet& b, bool below = false);
// All paths as texts (.spec.ports[port=80]), members of a level before what is below them.
std::vector<std::string> paths_of(const FieldSet& s);

// One step of a path as a text: .name, [name="x"].
std::string shown_element(std::string_view element);

// What the schema says about a place in a document.
struct Shape {
  enum class Kind : std::uint8_t { scalar, object, map, list, any };
  Kind kind = Kind::any;
  const Type* type = nullptr;    // of Kind::object
  const Field* field = nullptr;  // whose elements a map or list has, or whose scalar this is
  bool atomic = false;
};
Shape root_shape(const Type* type);
Shape member_shape(const Shape& s, std::string_view name);
Shape item_shape(const Shape& s);
// How an element of an associative list is named.
std::string item_name(const Shape& list, const Value& item);

// What the schema refuses in an applied document: ".spec.replicas: expected …".
std::vector<std::string> typed_faults(const Shape& shape, const Value& v);
// Every field that a document states.
FieldSet fields_of(const Shape& shape, const Value& v);
struct Difference {
  FieldSet added, modified, removed;
};
Difference differences(const Shape& shape, const Value& before, const Value& after);
// `applied` over `live`.
Value merged(const Shape& shape, const Value& live, const Value& applied);
// Without the fields of `gone`; nullopt: nothing is left.
std::optional<Value> without(const Shape& shape, const Value& v, const FieldSet& gone);
// The struct fields on the way to each path are in the set as well.
FieldSet with_parents(const Shape& shape, FieldSet s);
// What the real server's typed object has before anything is set: a field in it is changed, not added.
Value zero_value(const Type* type);

}  // namespace mr::kube
