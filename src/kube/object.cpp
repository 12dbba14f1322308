#include "kube/object.h"

#include <boost/json/array.hpp>
#include <ctime>

#include "text/text.h"
#include "time/clock.h"

namespace mr::kube {

namespace {

const Object no_object;
const Array no_array;

std::string_view as_text(const Value* v) {
  if (v == nullptr || !v->is_string()) return {};
  return v->get_string();
}

const Object* member_object(const Object& o, std::string_view key) {
  const auto* v = o.if_contains(key);
  return v == nullptr ? nullptr : v->if_object();
}

std::string_view metadata_text(const Object& o, std::string_view key) {
  const auto* m = member_object(o, "metadata");
  return m == nullptr ? std::string_view{} : as_text(m->if_contains(key));
}

// Texts of the map `which` ("labels", "annotations") of the metadata.
std::string_view metadata_map(const Object& o, std::string_view which, std::string_view key) {
  const auto* m = member_object(o, "metadata");
  if (m == nullptr) return {};
  const auto* map = member_object(*m, which);
  return map == nullptr ? std::string_view{} : as_text(map->if_contains(key));
}

const Value* step(const Value& v, std::string_view name) {
  if (const auto* o = v.if_object()) return o->if_contains(name);
  if (const auto* a = v.if_array()) {
    auto i = text::to_u64(name);
    if (i && *i < a->size()) return &(*a)[static_cast<std::size_t>(*i)];
  }
  return nullptr;
}

std::string broken_down(std::int64_t unix_seconds, const char* form) {
  std::time_t t = unix_seconds;
  std::tm parts{};
  gmtime_r(&t, &parts);
  char buf[40];
  return {buf, std::strftime(buf, sizeof buf, form, &parts)};
}

bool matches_expression(const Object& e, const Object& labels) {
  const auto key = as_text(e.if_contains("key"));
  const auto op = as_text(e.if_contains("operator"));
  const auto* have = labels.if_contains(key);
  if (op == "Exists") return have != nullptr;
  if (op == "DoesNotExist") return have == nullptr;
  bool in = false;
  if (have != nullptr)
    for (const auto& v : array_at(e, "values"))
      if (v.is_string() && as_text(&v) == as_text(have)) in = true;
  if (op == "In") return in;
  if (op == "NotIn") return !in;  // a label that is absent is in no list
  return false;
}

}  // namespace

std::string_view name_of(const Object& o) { return metadata_text(o, "name"); }
std::string_view namespace_of(const Object& o) { return metadata_text(o, "namespace"); }
std::string_view uid_of(const Object& o) { return metadata_text(o, "uid"); }
std::string_view kind_of(const Object& o) { return as_text(o.if_contains("kind")); }
std::string_view api_version_of(const Object& o) { return as_text(o.if_contains("apiVersion")); }
Key key_of(const Object& o) { return {std::string(namespace_of(o)), std::string(name_of(o))}; }
std::uint64_t resource_version_of(const Object& o) {
  return text::to_u64(metadata_text(o, "resourceVersion")).value_or(0);
}
bool deleting(const Object& o) {
  const auto* m = member_object(o, "metadata");
  if (m == nullptr) return false;
  const auto* v = m->if_contains("deletionTimestamp");
  return v != nullptr && !v->is_null();
}

Object& metadata(Object& o) { return ensure(o, "metadata"); }

const Value* at(const Object& o, std::string_view path) {
  auto dot = path.find('.');
  const auto* v = o.if_contains(path.substr(0, dot));
  if (v == nullptr || dot == std::string_view::npos) return v;
  return at(*v, path.substr(dot + 1));
}

const Value* at(const Value& v, std::string_view path) {
  const Value* now = &v;
  while (now != nullptr) {
    auto dot = path.find('.');
    now = step(*now, path.substr(0, dot));
    if (dot == std::string_view::npos) break;
    path.remove_prefix(dot + 1);
  }
  return now;
}

std::string_view text_at(const Object& o, std::string_view path, std::string_view otherwise) {
  const auto* v = at(o, path);
  return v == nullptr || !v->is_string() ? otherwise : as_text(v);
}

std::int64_t int_at(const Object& o, std::string_view path, std::int64_t otherwise) {
  const auto* v = at(o, path);
  if (v == nullptr) return otherwise;
  if (v->is_int64()) return v->get_int64();
  if (v->is_uint64() && v->get_uint64() <= std::uint64_t(INT64_MAX)) return std::int64_t(v->get_uint64());
  // A whole number may have been written as 3.0.
  if (v->is_double() && std::abs(v->get_double()) < 9e15 && std::trunc(v->get_double()) == v->get_double())
    return std::int64_t(v->get_double());
  return otherwise;
}

bool bool_at(const Object& o, std::string_view path, bool otherwise) {
  const auto* v = at(o, path);
  return v == nullptr || !v->is_bool() ? otherwise : v->get_bool();
}

const Object& object_at(const Object& o, std::string_view path) {
  const auto* v = at(o, path);
  const auto* found = v == nullptr ? nullptr : v->if_object();
  return found == nullptr ? no_object : *found;
}

const Array& array_at(const Object& o, std::string_view path) {
  const auto* v = at(o, path);
  const auto* found = v == nullptr ? nullptr : v->if_array();
  return found == nullptr ? no_array : *found;
}

std::string_view label(const Object& o, std::string_view key) { return metadata_map(o, "labels", key); }
std::string_view annotation(const Object& o, std::string_view key) { return metadata_map(o, "annotations", key); }

Object& ensure(Object& o, std::string_view path) {
  Object* now = &o;
  for (;;) {
    auto dot = path.find('.');
    auto& v = (*now)[path.substr(0, dot)];
    if (!v.is_object()) v.emplace_object();
    now = &v.get_object();
    if (dot == std::string_view::npos) return *now;
    path.remove_prefix(dot + 1);
  }
}

Object make_object(std::string_view api_version, std::string_view kind, std::string_view ns, std::string_view name) {
  Object o;
  o["apiVersion"] = api_version;
  o["kind"] = kind;
  auto& m = o["metadata"].emplace_object();
  m["name"] = name;
  if (!ns.empty()) m["namespace"] = ns;
  return o;
}

Object owner_reference(const Object& owner, bool controller) {
  Object r;
  r["apiVersion"] = api_version_of(owner);
  r["kind"] = kind_of(owner);
  r["name"] = name_of(owner);
  r["uid"] = uid_of(owner);
  if (controller) {
    r["controller"] = true;
    r["blockOwnerDeletion"] = true;
  }
  return r;
}

const Object* controller_of(const Object& o) {
  for (const auto& r : array_at(o, "metadata.ownerReferences"))
    if (const auto* ref = r.if_object(); ref != nullptr && bool_at(*ref, "controller")) return ref;
  return nullptr;
}

bool set_condition(Object& o, std::string_view type, std::string_view status, std::string_view reason,
                   std::string_view message) {
  auto& list = ensure(o, "status")["conditions"];
  if (!list.is_array()) list.emplace_array();
  auto& conditions = list.get_array();
  for (auto& v : conditions) {
    auto* c = v.if_object();
    if (c == nullptr || as_text(c->if_contains("type")) != type) continue;
    bool flipped = as_text(c->if_contains("status")) != status;
    if (!flipped && as_text(c->if_contains("reason")) == reason && as_text(c->if_contains("message")) == message)
      return false;
    (*c)["status"] = status;
    if (flipped || !c->contains("lastTransitionTime")) (*c)["lastTransitionTime"] = now_text();
    for (auto [key, text] : {std::pair{"reason", reason}, std::pair{"message", message}}) {
      if (text.empty())
        c->erase(key);
      else
        (*c)[key] = text;
    }
    return true;
  }
  Object c;
  c["type"] = type;
  c["status"] = status;
  c["lastTransitionTime"] = now_text();
  if (!reason.empty()) c["reason"] = reason;
  if (!message.empty()) c["message"] = message;
  conditions.push_back(std::move(c));
  return true;
}

const Object* condition(const Object& o, std::string_view type) {
  for (const auto& v : array_at(o, "status.conditions"))
    if (const auto* c = v.if_object(); c != nullptr && as_text(c->if_contains("type")) == type) return c;
  return nullptr;
}

bool matches_selector(const Object& selector, const Object& labels) {
  if (!has_labels(labels, object_at(selector, "matchLabels"))) return false;
  for (const auto& e : array_at(selector, "matchExpressions"))
    if (e.is_object() && !matches_expression(e.get_object(), labels)) return false;
  return true;
}

bool has_labels(const Object& labels, const Object& wanted) {
  for (const auto& [key, value] : wanted) {
    const auto* have = labels.if_contains(key);
    if (have == nullptr || as_text(have) != as_text(&value)) return false;
  }
  return true;
}

bool same(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return a == b || a.to_number<double>() == b.to_number<double>();
  if (a.is_array() && b.is_array()) return std::ranges::equal(a.get_array(), b.get_array(), same);
  if (a.is_object() && b.is_object()) {
    if (a.get_object().size() != b.get_object().size()) return false;
    for (const auto& m : a.get_object()) {
      const auto* other = b.get_object().if_contains(m.key());
      if (other == nullptr || !same(m.value(), *other)) return false;
    }
    return true;
  }
  return a == b;
}

std::string now_text() { return broken_down(time::now_ms() / 1000, "%Y-%m-%dT%H:%M:%SZ"); }

std::string micro_now_text() {
  auto us = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
                .count();
  return broken_down(us / 1'000'000, "%Y-%m-%dT%H:%M:%S") + fmt::format(".{:06}Z", us % 1'000'000);
}

}  // namespace mr::kube
