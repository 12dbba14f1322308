#include <mutex>

#include "kube/object.h"
#include "kube/schema.h"

namespace mr::kube {

namespace {

constexpr int deepest = 40;

Object object_schema(const Type& type, int depth);

Object value_schema(const Field& f, int depth) {
  Object s;
  switch (f.type) {
    case FieldType::string:
    case FieldType::duration:
      s["type"] = "string";
      break;
    case FieldType::boolean:
      s["type"] = "boolean";
      break;
    case FieldType::int32:
    case FieldType::int64:
      s["type"] = "integer";
      s["format"] = f.type == FieldType::int32 ? "int32" : "int64";
      break;
    case FieldType::number:
      s["type"] = "number";
      break;
    case FieldType::bytes:
      s["type"] = "string";
      s["format"] = "byte";
      break;
    case FieldType::time:
    case FieldType::micro_time:
      s["type"] = "string";
      s["format"] = "date-time";
      break;
    case FieldType::quantity:
    case FieldType::int_or_string:
      s["x-kubernetes-int-or-string"] = true;
      break;
    case FieldType::object:
      return object_schema(*f.ref, depth + 1);
    case FieldType::any:
      s["x-kubernetes-preserve-unknown-fields"] = true;
  }
  if (!f.enums.empty()) s["enum"] = Array(f.enums.begin(), f.enums.end());
  return s;
}

Object field_schema(const Field& f, int depth) {
  auto one = value_schema(f, depth);
  Object s;
  if (f.container == Container::list) {
    s["type"] = "array";
    s["items"] = std::move(one);
    if (f.list_kind == ListKind::set) s["x-kubernetes-list-type"] = "set";
    if (f.list_kind == ListKind::map) {
      s["x-kubernetes-list-type"] = "map";
      s["x-kubernetes-list-map-keys"] = Array(f.list_keys.begin(), f.list_keys.end());
    }
  } else if (f.container == Container::map) {
    s["type"] = "object";
    s["additionalProperties"] = std::move(one);
  } else {
    s = std::move(one);
  }
  if (f.nullable) s["nullable"] = true;
  return s;
}

Object object_schema(const Type& type, int depth) {
  Object s{{"type", "object"}};
  if (depth > deepest) {  // a type that contains itself
    s["x-kubernetes-preserve-unknown-fields"] = true;
    return s;
  }
  Object properties;
  Array required;
  for (const auto& f : type.fields) {
    const bool meta = depth == 0 && f.name == "metadata";
    properties[f.name] = meta ? Object{{"type", "object"}} : field_schema(f, depth);
    if (f.required) required.emplace_back(f.name);
  }
  s["properties"] = std::move(properties);
  if (!required.empty()) s["required"] = std::move(required);
  if (type.preserve_unknown) s["x-kubernetes-preserve-unknown-fields"] = true;
  return s;
}

}  // namespace

const Value& structural_schema(const Type& type) {
  static std::mutex mutex;
  static std::map<const Type*, std::unique_ptr<const Value>> made;
  const std::lock_guard lock(mutex);
  auto& schema = made[&type];
  if (!schema) schema = std::make_unique<const Value>(object_schema(type, 0));
  return *schema;
}

}  // namespace mr::kube
