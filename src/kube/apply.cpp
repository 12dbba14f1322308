// Server-side apply: who owns which field, and what an apply or another write changes about it.
#include <boost/json/array.hpp>

#include "json/parse.h"
#include "kube/apply_fields.h"
#include "kube/patch.h"

namespace mr::kube {

namespace {

constexpr std::size_t max_update_managers = 10;
constexpr std::string_view last_applied = "kubectl.kubernetes.io/last-applied-configuration";
constexpr std::size_t max_annotations = 256u << 10;

struct Manager {
  std::string name, operation, api_version, subresource, time;
  FieldSet fields;

  [[nodiscard]] bool is(std::string_view n, std::string_view op, std::string_view version, std::string_view sub) const {
    return name == n && operation == op && subresource == sub && (op == "Apply" || api_version == version);
  }
};
using Managers = std::vector<Manager>;

Managers managers_of(const Object& o) {
  Managers out;
  for (const auto& v : array_at(o, "metadata.managedFields")) {
    const auto* e = v.if_object();
    if (e == nullptr) continue;
    auto set = FieldSet::from_json(object_at(*e, "fieldsV1"));
    if (!set || set->empty()) continue;
    set->member = false;
    out.push_back({std::string(text_at(*e, "manager")), std::string(text_at(*e, "operation")),
                   std::string(text_at(*e, "apiVersion")), std::string(text_at(*e, "subresource")),
                   std::string(text_at(*e, "time")), std::move(*set)});
  }
  return out;
}

void write_managers(Object& o, Managers managers) {
  std::erase_if(managers, [](const Manager& m) { return m.fields.empty(); });
  std::ranges::sort(managers, [](const Manager& a, const Manager& b) {
    return std::tie(a.operation, a.time, a.name, a.api_version, a.subresource) <
           std::tie(b.operation, b.time, b.name, b.api_version, b.subresource);
  });
  auto& meta = metadata(o);
  if (managers.empty()) {
    meta.erase("managedFields");
    return;
  }
  Array list;
  for (const auto& m : managers) {
    Object e;
    e["manager"] = m.name;
    e["operation"] = m.operation;
    e["apiVersion"] = m.api_version;
    if (!m.time.empty()) e["time"] = m.time;
    e["fieldsType"] = "FieldsV1";
    e["fieldsV1"] = m.fields.to_json();
    if (!m.subresource.empty()) e["subresource"] = m.subresource;
    list.push_back(std::move(e));
  }
  meta["managedFields"] = std::move(list);
}

// Too many writers of a kind: the oldest become one.
void cap(Managers& all) {
  std::vector<Manager*> updates;
  for (auto& m : all)
    if (m.operation == "Update" && m.subresource.empty()) updates.push_back(&m);
  if (updates.size() <= max_update_managers) return;
  std::ranges::sort(updates, {}, [](const Manager* m) { return m->time; });
  auto* into = updates[0];
  into->name = "ancient-changes";
  for (std::size_t i = 1; i <= updates.size() - max_update_managers; ++i) {
    into->fields = unite(std::move(into->fields), updates[i]->fields);
    into->time = updates[i]->time;
    updates[i]->fields = {};
  }
}

// What nobody owns: it is the server's, or part of the address.
FieldSet unowned() {
  FieldSet s;
  for (auto key : {"f:apiVersion", "f:kind", "f:metadata"}) s.children[key].member = true;
  auto& meta = s.children["f:metadata"];
  for (auto key : {"name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation",
                   "managedFields", "resourceVersion"})
    meta.children[fmt::format("f:{}", key)].member = true;
  return s;
}

// The fields that a write through this door may own.
FieldSet owned_through(FieldSet s, const Type* type, std::string_view subresource) {
  static const FieldSet never = unowned();
  s = subtract(s, never);
  if (subresource == "status") {
    std::erase_if(s.children, [](const auto& c) { return c.first != "f:status" && c.first != "f:metadata"; });
    return s;
  }
  const bool own_door =
      type != nullptr && type->name.starts_with("io.k8s.") && zero_value(type).as_object().contains("status");
  if (own_door) s.children.erase("f:status");
  return s;
}

bool is_type(const Type* type, std::string_view name) { return type != nullptr && type->name == name; }

// What the server adds to a new object after it took down who owns what.
void forget_added(FieldSet& s, const Type* type, const Object& o) {
  auto spec = s.children.find("f:spec");
  if (spec == s.children.end()) return;
  auto& fields = spec->second.children;
  if (is_type(type, "io.k8s.api.core.v1.Service")) {
    for (auto f : {"f:ipFamilies", "f:ipFamilyPolicy", "f:healthCheckNodePort"}) fields.erase(f);
    if (text_at(o, "spec.clusterIP") != "None")
      for (auto f : {"f:clusterIP", "f:clusterIPs"}) fields.erase(f);
    if (auto ports = fields.find("f:ports"); ports != fields.end())
      for (auto& [name, port] : ports->second.children) port.children.erase("f:nodePort");
  } else if (is_type(type, "io.k8s.api.core.v1.Pod")) {
    for (auto f : {"f:preemptionPolicy", "f:priority", "f:nodeName"}) fields.erase(f);
    if (text_at(o, "spec.serviceAccountName") == "default")
      for (auto f : {"f:serviceAccount", "f:serviceAccountName"}) fields.erase(f);
    if (array_at(o, "spec.tolerations").size() == 2) fields.erase("f:tolerations");
    // The account's token, mounted everywhere.
    auto drop = [](FieldSet& in, std::string_view list, std::string_view prefix) {
      auto it = in.children.find(list);
      if (it == in.children.end()) return;
      std::erase_if(it->second.children, [&](const auto& c) { return c.first.starts_with(prefix); });
      if (it->second.children.empty()) in.children.erase(it);
    };
    drop(spec->second, "f:volumes", R"(k:{"name":"kube-api-access-)");
    for (auto list : {"f:containers", "f:initContainers"})
      if (auto it = fields.find(list); it != fields.end())
        for (auto& [name, container] : it->second.children)
          drop(container, "f:volumeMounts", R"(k:{"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount")");
  }
}

Object plain(const Object& o) {
  Object copy = o;
  if (auto* meta = copy.if_contains("metadata"); meta != nullptr && meta->is_object())
    meta->get_object().erase("managedFields");
  return copy;
}

std::string shown_manager(const Manager& m) {
  auto out = in_quotes(m.name);
  if (!m.subresource.empty()) out += " with subresource " + in_quotes(m.subresource);
  if (m.operation == "Update") out += " using " + m.api_version;
  return out;
}

// With the structs that a typed object of the real server always has.
void fill(Value& v, const Value& zero) {
  if (!v.is_object() || !zero.is_object()) return;
  for (const auto& m : zero.get_object()) {
    auto* there = v.get_object().if_contains(m.key());
    if (there == nullptr)
      v.get_object()[m.key()] = m.value();
    else
      fill(*there, m.value());
  }
}
Difference typed_differences(const Type* type, Value before, Value after) {
  const auto zero = zero_value(type);
  fill(before, zero);
  fill(after, zero);
  return differences(root_shape(type), before, after);
}

struct Clash {
  std::string manager, path;
};

ApiError clash_error(std::vector<Clash> clashes) {
  std::ranges::sort(clashes, {}, [](const Clash& c) { return std::tie(c.manager, c.path); });
  ApiError e{409, "Conflict", {}, {}};
  Array causes;
  for (const auto& c : clashes)
    causes.push_back(
        Object{{"reason", "FieldManagerConflict"}, {"message", "conflict with " + c.manager}, {"field", c.path}});
  if (clashes.size() == 1) {
    e.message = fmt::format("Apply failed with 1 conflict: conflict with {}: {}", clashes[0].manager, clashes[0].path);
  } else {
    e.message = fmt::format("Apply failed with {} conflicts: ", clashes.size());
    std::string_view now;
    for (std::size_t i = 0; i < clashes.size(); ++i) {
      if (i > 0) e.message += '\n';
      if (clashes[i].manager != now) {
        now = clashes[i].manager;
        e.message += fmt::format("conflicts with {}:\n", now);
      }
      e.message += "- " + clashes[i].path;
    }
  }
  e.details["causes"] = std::move(causes);
  return e;
}

Value in_key_order(const Value& v) {
  if (const auto* a = v.if_array()) {
    Array out;
    for (const auto& e : *a) out.push_back(in_key_order(e));
    return out;
  }
  const auto* o = v.if_object();
  if (o == nullptr) return v;
  std::map<std::string_view, const Value*> sorted;
  for (const auto& m : *o) sorted.emplace(std::string_view(m.key()), &m.value());
  Object out;
  for (const auto& [k, e] : sorted) out[k] = in_key_order(*e);
  return out;
}

struct Result {
  Object object;
  Managers managers;
  FieldSet clashing;
  std::vector<Clash> clashes;
};

// Takes from `merged` what the manager stated before and states no more, if nobody else owns it.
Value pruned(const Shape& shape, Value merged, const Managers& managers, const FieldSet& last) {
  if (last.empty()) return merged;
  auto left = without(shape, merged, with_parents(shape, last)).value_or(Object{});
  FieldSet managed;
  for (const auto& m : managers) managed = unite(std::move(managed), m.fields);
  managed = with_parents(shape, std::move(managed));
  const auto whole = with_parents(shape, fields_of(shape, merged));
  auto remaining = [&](const Value& v) { return with_parents(shape, fields_of(shape, v)); };
  // What another manager owns comes back, and what nobody ever stated.
  left = without(shape, merged, subtract(whole, unite(remaining(left), managed))).value_or(Object{});
  auto gone = intersect(subtract(whole, remaining(left)), with_parents(shape, last));
  return without(shape, merged, gone).value_or(Object{});
}

void drop_nulls(Value& v) {
  if (auto* o = v.if_object()) {
    std::vector<std::string> gone;
    for (auto& m : *o)
      if (m.value().is_null())
        gone.emplace_back(m.key());
      else
        drop_nulls(m.value());
    for (const auto& k : gone)
      if (auto it = o->find(k); it != o->end()) o->stable_erase(it);
  } else if (auto* a = v.if_array()) {
    for (auto& e : *a) drop_nulls(e);
  }
}

// The structs of a typed object cannot go, only become empty: those that pruning took from `now` return so.
void keep_structs(Value& now, const Value& before, const Value& zero) {
  if (!now.is_object() || !before.is_object() || !zero.is_object()) return;
  for (const auto& m : zero.get_object()) {
    const auto* was = before.get_object().if_contains(m.key());
    if (was == nullptr) continue;
    if (auto* there = now.get_object().if_contains(m.key()); there != nullptr && !there->is_null())
      keep_structs(*there, *was, m.value());
    else
      now.get_object()[m.key()] = m.value();
  }
}

Result try_apply(const Object* live, const Object& applied, Managers managers, const Type* type, const ApplyOptions& o,
                 bool force) {
  const auto shape = root_shape(type);
  // A new object begins as the empty one of its type.
  Value before = live == nullptr ? zero_value(type) : Value(plain(*live));
  Value now = merged(shape, before, applied);
  Manager* self = nullptr;
  for (auto& m : managers)
    if (m.is(o.manager, "Apply", o.api_version, o.subresource)) self = &m;
  FieldSet last;
  if (self == nullptr)
    self = &managers.emplace_back(Manager{o.manager, "Apply", o.api_version, o.subresource, {}, {}});
  else
    last = self->fields;
  self->api_version = o.api_version;
  self->fields = owned_through(fields_of(shape, applied), type, o.subresource);
  now = pruned(shape, std::move(now), managers, last);
  if (live != nullptr) {
    auto zero = zero_value(type);
    drop_nulls(zero);
    keep_structs(now, before, zero);
  }
  auto d = typed_differences(type, before, now);
  const auto touched = unite(d.modified, d.added);
  Result r;
  for (auto& m : managers) {
    if (&m == self) continue;
    auto both = intersect(m.fields, touched);
    if (!both.empty()) {
      for (auto& path : paths_of(both)) r.clashes.push_back({shown_manager(m), std::move(path)});
      r.clashing = unite(std::move(r.clashing), both);
      if (force) m.fields = subtract(m.fields, both);
    }
    m.fields = subtract(m.fields, d.removed);
  }
  if (force) r.clashes.clear();
  if (live == nullptr) drop_nulls(now);
  r.object = now.is_object() ? std::move(now.get_object()) : Object{};
  r.managers = std::move(managers);
  return r;
}

// Fields that client-side apply wrote and nobody changed since: kubectl may take them over without a conflict.
FieldSet of_last_applied(const Object& live, const Type* type) {
  auto doc = json::parse(annotation(live, last_applied));
  if (!doc || !doc->is_object()) return {};
  auto shape = root_shape(type);
  auto d = differences(shape, *doc, Value(plain(live)));
  return subtract(subtract(subtract(fields_of(shape, *doc), d.modified), d.added), d.removed);
}

bool same_managers(const Managers& a, const Managers& b) {
  auto counted = [](const Managers& m) {
    return std::ranges::count_if(m, [](const Manager& x) { return !x.fields.empty(); });
  };
  if (counted(a) != counted(b)) return false;
  for (const auto& x : a) {
    if (x.fields.empty()) continue;
    auto it = std::ranges::find_if(b, [&](const Manager& y) {
      return y.is(x.name, x.operation, x.api_version, x.subresource) && y.api_version == x.api_version;
    });
    if (it == b.end() || !(it->fields == x.fields)) return false;
  }
  return true;
}

}  // namespace

std::expected<Object, ApiError> apply(const Object* live, const Object& given, const Type* type,
                                      const ApplyOptions& o) {
  if (const auto* m = at(given, "metadata.managedFields"); m != nullptr && !m->is_null())
    return std::unexpected(bad_request("metadata.managedFields must be nil"));
  if (auto faults = typed_faults(root_shape(type), Value(given)); !faults.empty()) {
    std::string text = faults[0];
    if (faults.size() > 1) text = fmt::format("errors:\n  {}", fmt::join(faults, "\n  "));
    return std::unexpected(make_error(
        500, "",
        fmt::format("failed to create typed patch object ({}/{}; {}, Kind={}): {}", namespace_of(given), name_of(given),
                    o.api_version.find('/') == std::string::npos ? "/" + o.api_version : o.api_version, kind_of(given),
                    text)));
  }
  Object applied = given;
  if (auto* meta = applied.if_contains("metadata"); meta != nullptr && meta->is_object())
    for (auto key : {"resourceVersion", "uid", "creationTimestamp", "generation", "selfLink", "managedFields"})
      meta->get_object().erase(key);
  Managers managers;
  if (live != nullptr) {
    managers = managers_of(*live);
    if (managers.empty()) {
      // Written before anybody kept account: all of it has one unknown owner.
      auto d = differences(root_shape(type), zero_value(type), Value(plain(*live)));
      managers.push_back({"before-first-apply", "Update", o.api_version, "", now_text(),
                          owned_through(unite(d.added, d.modified), type, "")});
    }
  }
  auto r = try_apply(live, applied, managers, type, o, o.force);
  if (!r.clashes.empty() && o.manager == "kubectl" && live != nullptr &&
      subtract(r.clashing, of_last_applied(*live, type)).empty())
    r = try_apply(live, applied, managers, type, o, true);
  if (!r.clashes.empty()) return std::unexpected(clash_error(std::move(r.clashes)));
  if (live != nullptr && o.manager == "kubectl" && !annotation(*live, last_applied).empty()) {
    // Client-side apply stays possible: its note follows.
    auto note = applied;
    if (auto* meta = note.if_contains("metadata"); meta != nullptr && meta->is_object())
      if (auto* notes = meta->get_object().if_contains("annotations"); notes != nullptr && notes->is_object())
        notes->get_object().erase(last_applied);
    auto text = json::serialize(in_key_order(Value(note))) + "\n";
    if (text.size() < max_annotations) ensure(metadata(r.object), "annotations")[last_applied] = text;
  }
  if (live != nullptr && same(Value(plain(*live)), Value(r.object)) && same_managers(r.managers, managers_of(*live)))
    return *live;  // nothing changes, not even a time
  // The time of an entry is that of a change of the object, not of the account.
  if (live == nullptr || !same(Value(plain(*live)), Value(r.object)))
    for (auto& m : r.managers)
      if (m.is(o.manager, "Apply", o.api_version, o.subresource)) m.time = now_text();
  write_managers(r.object, std::move(r.managers));
  return std::move(r.object);
}

void track_update(const Object* before, Object& after, const Type* type, std::string_view manager,
                  std::string_view api_version, std::string_view subresource) {
  // A writer may rewrite the account; what cannot be read is not taken.
  auto managers = managers_of(after);
  const auto& given = array_at(after, "metadata.managedFields");
  const bool reset = given.size() == 1 && given[0].is_object() && given[0].get_object().empty();
  if (managers.empty() && !reset && before != nullptr) managers = managers_of(*before);
  auto d = typed_differences(type, before == nullptr ? zero_value(type) : Value(plain(*before)), Value(plain(after)));
  const auto touched = unite(d.added, d.modified);
  if (reset && touched.empty() && d.removed.empty()) {
    write_managers(after, {});
    return;
  }
  for (auto& m : managers) m.fields = subtract(subtract(m.fields, touched), d.removed);
  auto own = owned_through(touched, type, subresource);
  if (before == nullptr) forget_added(own, type, after);
  if (!own.empty()) {
    auto it = std::ranges::find_if(managers,
                                   [&](const Manager& m) { return m.is(manager, "Update", api_version, subresource); });
    if (it == managers.end())
      it = managers.insert(
          managers.end(),
          Manager{std::string(manager), "Update", std::string(api_version), std::string(subresource), {}, {}});
    it->fields = unite(std::move(it->fields), own);
    it->time = now_text();
  }
  cap(managers);
  write_managers(after, std::move(managers));
}

}  // namespace mr::kube
