#include "kube/apply_fields.h"

#include <boost/json/array.hpp>

#include "json/parse.h"
#include "kube/errors.h"

namespace mr::kube {

namespace {

Shape element_shape(const Field& f) {
  // References are owned as one wherever they stand.
  static constexpr std::string_view whole[] = {"io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference",
                                               "io.k8s.api.core.v1.LocalObjectReference",
                                               "io.k8s.api.core.v1.ObjectReference"};
  if (f.type == FieldType::object && f.ref != nullptr)
    return {
        .kind = Shape::Kind::object, .type = f.ref, .atomic = std::ranges::find(whole, f.ref->name) != std::end(whole)};
  if (f.type == FieldType::any || f.type == FieldType::object) return {};
  return {.kind = Shape::Kind::scalar, .field = &f};
}

// The shape that a value really has: what does not fit is owned as one.
enum class Walk : std::uint8_t { leaf, members, items };
Walk walk_of(const Shape& s, const Value& v) {
  if (s.atomic) return Walk::leaf;
  switch (s.kind) {
    case Shape::Kind::scalar:
      return Walk::leaf;
    case Shape::Kind::object:
    case Shape::Kind::map:
      return v.is_object() || v.is_null() ? Walk::members : Walk::leaf;
    case Shape::Kind::list:
      return v.is_array() || v.is_null() ? Walk::items : Walk::leaf;
    case Shape::Kind::any:
      return v.is_object() ? Walk::members : Walk::leaf;
  }
  return Walk::leaf;
}

const Object no_members;
const Array no_items;
const Object& members(const Value* v) { return v != nullptr && v->is_object() ? v->get_object() : no_members; }
const Array& items(const Value* v) { return v != nullptr && v->is_array() ? v->get_array() : no_items; }

std::string field_name(std::string_view key) { return "f:" + std::string(key); }

}  // namespace

Shape root_shape(const Type* type) {
  if (type == nullptr) return {};
  return {.kind = Shape::Kind::object, .type = type};
}

Shape member_shape(const Shape& s, std::string_view name) {
  if (s.kind == Shape::Kind::map) return element_shape(*s.field);
  if (s.kind != Shape::Kind::object) return {};
  const auto* f = s.type->find(name);
  if (f == nullptr) return {};
  if (f->container == Container::list)
    return {.kind = Shape::Kind::list, .field = f, .atomic = f->list_kind == ListKind::atomic};
  if (f->container == Container::map) return {.kind = Shape::Kind::map, .field = f, .atomic = f->atomic_map};
  auto shape = element_shape(*f);
  shape.atomic |= f->atomic_map;
  return shape;
}

Shape item_shape(const Shape& s) { return s.kind == Shape::Kind::list ? element_shape(*s.field) : Shape{}; }

std::string item_name(const Shape& list, const Value& item) {
  if (list.field == nullptr || list.field->list_kind != ListKind::map || !item.is_object())
    return "v:" + json::serialize(item);
  std::map<std::string_view, Value> keys;
  for (const auto& k : list.field->list_keys) {
    if (const auto* v = item.get_object().if_contains(k); v != nullptr && !v->is_null())
      keys.emplace(k, *v);
    else if (k == "protocol")
      keys.emplace(k, "TCP");  // the one key that has a default
  }
  Object o;
  for (auto& [k, v] : keys) o[k] = std::move(v);
  return "k:" + json::serialize(Value(std::move(o)));
}

// --- walks ---

namespace {

std::string_view go_type(const Value& v) {
  if (v.is_string()) return "string";
  if (v.is_bool()) return "bool";
  if (v.is_object()) return "map[string]interface {}";
  if (v.is_array()) return "[]interface {}";
  return v.is_double() ? "float64" : "int64";
}

void check(const Shape& s, const Value& v, const std::string& path, std::vector<std::string>& out) {
  if (v.is_null()) return;
  auto fault = [&](std::string what) { out.push_back(fmt::format("{}: {}", path, what)); };
  switch (s.kind) {
    case Shape::Kind::any:
      return;
    case Shape::Kind::scalar:
      switch (s.field->type) {
        case FieldType::int32:
        case FieldType::int64:
        case FieldType::number:
          if (!v.is_number()) fault(fmt::format("expected numeric (int or float), got {}", go_type(v)));
          return;
        case FieldType::boolean:
          if (!v.is_bool()) fault("expected boolean, got " + rendered(v));
          return;
        case FieldType::string:
        case FieldType::bytes:
          if (!v.is_string()) fault("expected string, got " + rendered(v));
          return;
        default:
          if (v.is_object() || v.is_array()) fault("expected scalar, got " + std::string(go_type(v)));
          return;
      }
    case Shape::Kind::object:
    case Shape::Kind::map:
      if (!v.is_object()) {
        fault("expected map, got &{" + rendered(v) + "}");
        return;
      }
      for (const auto& m : v.get_object()) {
        auto here = path + "." + std::string(m.key());
        if (s.kind == Shape::Kind::object && s.type->find(m.key()) == nullptr) {
          if (!s.type->preserve_unknown) out.push_back(here + ": field not declared in schema");
          continue;
        }
        check(member_shape(s, m.key()), m.value(), here, out);
      }
      return;
    case Shape::Kind::list: {
      if (!v.is_array()) {
        fault("expected list, got &{" + rendered(v) + "}");
        return;
      }
      std::set<std::string> seen;
      auto element = item_shape(s);
      for (std::size_t i = 0; i < v.get_array().size(); ++i) {
        const auto& e = v.get_array()[i];
        if (s.atomic) {
          check(element, e, fmt::format("{}[{}]", path, i), out);
          continue;
        }
        auto name = item_name(s, e);
        if (!seen.insert(name).second) {
          fault("duplicate entries for key " + shown_element(name));
          continue;
        }
        check(element, e, path + shown_element(name), out);
      }
      return;
    }
  }
}

void collect(const Shape& s, const Value& v, FieldSet& out) {
  switch (walk_of(s, v)) {
    case Walk::leaf:
      out.member = true;
      return;
    case Walk::members:
      for (const auto& m : members(&v)) {
        auto& child = out.children[field_name(m.key())];
        auto shape = member_shape(s, m.key());
        collect(shape, m.value(), child);
        bool declared = s.kind == Shape::Kind::object && s.type->find(m.key()) != nullptr;
        if (m.value().is_null() || (m.value().is_object() && m.value().get_object().empty()) || !declared)
          child.member = true;
        if (child.empty()) out.children.erase(field_name(m.key()));
      }
      return;
    case Walk::items:
      for (const auto& e : items(&v)) {
        auto& child = out.children[item_name(s, e)];
        collect(item_shape(s), e, child);
        child.member = true;
      }
      return;
  }
}

void differ(const Shape& s, const Value* a, const Value* b, FieldSet& added, FieldSet& modified, FieldSet& removed);

// One child of all three sets; those that stay empty go again.
void differ_child(const std::string& name, const Shape& s, const Value* a, const Value* b, FieldSet& added,
                  FieldSet& modified, FieldSet& removed) {
  auto& x = added.children[name];
  auto& y = modified.children[name];
  auto& z = removed.children[name];
  differ(s, a, b, x, y, z);
  if (x.empty()) added.children.erase(name);
  if (y.empty()) modified.children.erase(name);
  if (z.empty()) removed.children.erase(name);
}

void differ(const Shape& s, const Value* a, const Value* b, FieldSet& added, FieldSet& modified, FieldSet& removed) {
  auto walk = walk_of(s, a == nullptr ? *b : *a);
  if (a != nullptr && b != nullptr) {
    if (same(*a, *b)) return;
    // A container that was null, or becomes it, is walked as an empty one.
    if (a->is_null()) walk = walk_of(s, *b);
    auto other = walk_of(s, *b);
    if (!b->is_null() && other != walk) walk = Walk::leaf;
  }
  if (walk == Walk::leaf) {
    (a == nullptr ? added : b == nullptr ? removed : modified).member = true;
    return;
  }
  if (walk == Walk::members) {
    const auto& x = members(a);
    const auto& y = members(b);
    for (const auto& m : x) {
      const auto* other = y.if_contains(m.key());
      differ_child(field_name(m.key()), member_shape(s, m.key()), &m.value(), other, added, modified, removed);
    }
    for (const auto& m : y)
      if (!x.contains(m.key()))
        differ_child(field_name(m.key()), member_shape(s, m.key()), nullptr, &m.value(), added, modified, removed);
  } else {
    std::map<std::string, std::pair<const Value*, const Value*>> both;
    for (const auto& e : items(a)) both[item_name(s, e)].first = &e;
    for (const auto& e : items(b)) both[item_name(s, e)].second = &e;
    for (const auto& [name, pair] : both)
      differ_child(name, item_shape(s), pair.first, pair.second, added, modified, removed);
  }
  if (a == nullptr) added.member = true;
  if (b == nullptr) removed.member = true;
}

Array merged_items(const Shape& s, const Array& live, const Array& applied) {
  std::vector<std::string> left, right;
  std::unordered_map<std::string_view, const Value*> in_left, in_right;
  for (const auto& e : live) left.push_back(item_name(s, e));
  for (const auto& e : applied) right.push_back(item_name(s, e));
  for (std::size_t i = 0; i < live.size(); ++i) in_left.try_emplace(left[i], &live[i]);
  for (std::size_t i = 0; i < applied.size(); ++i) in_right.try_emplace(right[i], &applied[i]);
  std::deque<std::string_view> shared;  // what both have, in the order of the applied
  for (const auto& name : right)
    if (in_left.contains(name)) shared.emplace_back(name);
  auto next_shared = [&]() -> std::string_view {
    if (shared.empty()) return {};
    auto n = shared.front();
    shared.pop_front();
    return n;
  };
  auto awaited = next_shared();
  std::set<std::string_view> done;
  Array out;
  const auto element = item_shape(s);
  auto take = [&](const std::string& name) {
    auto l = in_left.find(name);
    const auto* r = in_right.at(name);
    out.push_back(l == in_left.end() ? *r : merged(element, *l->second, *r));
    done.insert(name);
  };
  for (std::size_t i = 0, j = 0; i < left.size() || j < right.size();) {
    if (i < left.size() && j < right.size()) {
      if (left[i] == right[j]) {
        take(right[j]);
        ++i;
        ++j;
        awaited = next_shared();
        continue;
      }
      if (in_right.contains(left[i]) && !awaited.empty() && awaited != left[i]) {
        ++i;  // it comes when its turn in the applied order comes
        continue;
      }
    }
    if (i < left.size()) {
      if (!in_right.contains(left[i])) {
        out.push_back(live[i]);
        ++i;
        continue;
      }
      if (done.contains(left[i])) ++i;
    }
    if (j < right.size()) {
      if (!done.contains(right[j])) take(right[j]);
      if (awaited == right[j]) awaited = next_shared();
      ++j;
    }
  }
  return out;
}

struct Zero {
  std::string_view type, fields;  // structs that are never absent, by the last part of the type's name
};
constexpr Zero zeros[] = {{"Deployment", "spec status"},
                          {"DeploymentSpec", "template strategy"},
                          {"PodTemplateSpec", "metadata spec"},
                          {"PodSpec", "containers"},
                          {"ReplicaSet", "spec status"},
                          {"ReplicaSetSpec", "template"},
                          {"StatefulSet", "spec status"},
                          {"StatefulSetSpec", "template updateStrategy"},
                          {"DaemonSet", "spec status"},
                          {"DaemonSetSpec", "template updateStrategy"},
                          {"Job", "spec status"},
                          {"JobSpec", "template"},
                          {"CronJob", "spec status"},
                          {"CronJobSpec", "jobTemplate"},
                          {"JobTemplateSpec", "metadata spec"},
                          {"Pod", "spec status"},
                          {"PodTemplate", "template"},
                          {"Service", "spec status"},
                          {"ServiceStatus", "loadBalancer"},
                          {"Namespace", "spec status"},
                          {"Node", "spec status"},
                          {"NodeStatus", "daemonEndpoints nodeInfo"},
                          {"PersistentVolumeClaim", "spec status"},
                          {"PersistentVolumeClaimSpec", "resources"},
                          {"PersistentVolume", "spec status"},
                          {"ResourceQuota", "spec status"},
                          {"LimitRange", "spec"},
                          {"ReplicationController", "spec status"},
                          {"NetworkPolicy", "spec"},
                          {"NetworkPolicySpec", "podSelector"},
                          {"Ingress", "spec status"},
                          {"IngressStatus", "loadBalancer"},
                          {"IngressClass", "spec"},
                          {"RoleBinding", "roleRef"},
                          {"ClusterRoleBinding", "roleRef"},
                          {"Event", "involvedObject source"},
                          {"Lease", "spec"},
                          {"PodDisruptionBudget", "spec status"},
                          {"HorizontalPodAutoscaler", "spec status"},
                          {"HorizontalPodAutoscalerSpec", "scaleTargetRef"},
                          {"CustomResourceDefinition", "spec status"},
                          {"CustomResourceDefinitionSpec", "names"},
                          {"CustomResourceDefinitionStatus", "acceptedNames"}};

}  // namespace

std::vector<std::string> typed_faults(const Shape& shape, const Value& v) {
  std::vector<std::string> out;
  check(shape, v, "", out);
  return out;
}

FieldSet fields_of(const Shape& shape, const Value& v) {
  FieldSet s;
  collect(shape, v, s);
  return s;
}

Difference differences(const Shape& shape, const Value& before, const Value& after) {
  Difference d;
  differ(shape, &before, &after, d.added, d.modified, d.removed);
  return d;
}

Value merged(const Shape& s, const Value& live, const Value& applied) {
  auto walk = walk_of(s, applied);
  if (walk == Walk::leaf || applied.is_null() || walk_of(s, live) != walk) return applied;
  if (walk == Walk::items) return merged_items(s, items(&live), items(&applied));
  Object out = members(&live);
  for (const auto& m : members(&applied)) {
    const auto* there = out.if_contains(m.key());
    out[m.key()] = there == nullptr ? m.value() : merged(member_shape(s, m.key()), *there, m.value());
  }
  return out;
}

std::optional<Value> without(const Shape& s, const Value& v, const FieldSet& gone) {
  switch (walk_of(s, v)) {
    case Walk::leaf:
      return v;
    case Walk::members: {
      Object out;
      for (const auto& m : members(&v)) {
        const auto* g = gone.find(field_name(m.key()));
        if (g == nullptr) {
          out[m.key()] = m.value();
        } else if (!g->member) {
          if (auto left = without(member_shape(s, m.key()), m.value(), *g)) out[m.key()] = std::move(*left);
        }
      }
      if (out.empty()) return std::nullopt;
      return out;
    }
    case Walk::items: {
      Array out;
      for (const auto& e : items(&v)) {
        const auto* g = gone.find(item_name(s, e));
        if (g == nullptr) {
          out.push_back(e);
        } else if (!g->member) {
          if (auto left = without(item_shape(s), e, *g)) out.push_back(std::move(*left));
        }
      }
      if (out.empty()) return std::nullopt;
      return out;
    }
  }
  return v;
}

FieldSet with_parents(const Shape& s, FieldSet set) {
  for (auto& [name, child] : set.children) {
    if (name.starts_with("f:")) {
      auto key = std::string_view(name).substr(2);
      if (s.kind == Shape::Kind::object && s.type->find(key) != nullptr) child.member = true;
      child = with_parents(member_shape(s, key), std::move(child));
    } else {
      child = with_parents(item_shape(s), std::move(child));
    }
  }
  return set;
}

Value zero_value(const Type* type) {
  Object o;
  if (type == nullptr) return o;
  auto dot = type->name.rfind('.');
  auto last = std::string_view(type->name).substr(dot == std::string::npos ? 0 : dot + 1);
  if (!type->name.starts_with("io.k8s.")) return o;
  for (const auto& z : zeros) {
    if (z.type != last) continue;
    for (std::size_t i = 0; i < z.fields.size();) {
      auto end = std::min(z.fields.find(' ', i), z.fields.size());
      auto name = z.fields.substr(i, end - i);
      i = end + 1;
      const auto* f = type->find(name);
      if (f == nullptr) continue;
      if (f->container == Container::list)
        o[name] = nullptr;
      else
        o[name] = zero_value(f->ref);
    }
    if (last == "PodTemplateSpec" || last == "JobTemplateSpec")
      if (auto* meta = o.if_contains("metadata")) meta->get_object()["creationTimestamp"] = nullptr;
  }
  return o;
}

}  // namespace mr::kube
