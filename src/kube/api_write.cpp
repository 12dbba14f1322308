// How objects change: the steps of create, update, patch and delete, in the order of the real server.
#include "crypto/random.h"
#include "json/parse.h"
#include "kube/admission.h"
#include "kube/api.h"
#include "kube/convert.h"
#include "kube/names.h"
#include "kube/patch.h"
#include "kube/strategy.h"
#include "kube/wire.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::kube {

namespace {

constexpr int kRetries = 16;  // lost races of a write without a precondition

ApiError modified(const Target& t) {
  return conflict(t.kind->group, t.kind->plural, t.name,
                  "the object has been modified; please apply your changes to the latest version and try again");
}

ApiError of_store(const Target& t, const Error& e) {
  if (e.reason == "Conflict") return modified(t);
  if (e.reason == "NotFound") return not_found(t.kind->group, t.kind->plural, t.name);
  if (e.reason == "AlreadyExists") return already_exists(t.kind->group, t.kind->plural, t.name);
  if (e.reason == "TooManyRequests") return make_error(429, e.reason, e.message);
  return make_error(503, "ServiceUnavailable", e.message);
}

ApiError wrong_uid(const Target& t, std::string_view wanted, std::string_view is) {
  auto key = t.kind->crd ? t.kind->group + "/" + t.kind->plural : t.kind->plural;
  if (t.kind->namespaced) key += "/" + t.ns;
  return conflict(
      t.kind->group, t.kind->plural, t.name,
      fmt::format("StorageError: invalid object, Code: 4, Key: /registry/{}/{}, ResourceVersion: 0, "
                  "AdditionalErrorMsg: Precondition failed: UID in precondition: {}, UID in object meta: {}",
                  key, t.name, wanted, is));
}

// A patched object that is none of its kind any more: the real server shows it whole.
ApiError bad_patch(const Object& patched, std::string_view why) {
  return invalid_object("", "", "", {invalid("patch", Value(json::serialize(patched)), why)});
}

// Equal but for what every write changes.
bool same(const Object& a, const Object& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [k, v] : a) {
    const auto* other = b.if_contains(k);
    if (other == nullptr) return false;
    if (k != "metadata") {
      if (v != *other) return false;
      continue;
    }
    if (!v.is_object() || !other->is_object()) return false;
    Object ma = v.get_object();
    Object mb = other->get_object();
    for (const char* f : {"managedFields", "resourceVersion"}) {
      ma.erase(f);
      mb.erase(f);
    }
    if (ma != mb) return false;
  }
  return true;
}

// Everything but metadata and status counts for metadata.generation.
bool spec_differs(const Object& a, const Object& b) {
  auto rest = [](const Object& o) {
    std::size_t n = 0;
    for (const auto& [k, v] : o)
      if (k != "metadata" && k != "status" && k != "apiVersion" && k != "kind") ++n;
    return n;
  };
  if (rest(a) != rest(b)) return true;
  for (const auto& [k, v] : a) {
    if (k == "metadata" || k == "status" || k == "apiVersion" || k == "kind") continue;
    const auto* other = b.if_contains(k);
    if (other == nullptr || v != *other) return true;
  }
  return false;
}

}  // namespace

// Steps shared by the verbs.
struct Api::Steps {
  Api& api;

  // Unknown and duplicate fields by the wish of the client; removes what the schema does not know.
  Answer<void> tidy(const Target& t, Object& o, const WriteOptions& w, std::vector<std::string>& warn,
                    bool patched = false) {
    auto faults = w.faults;
    Object whole;
    if (patched && w.validation == FieldValidation::strict) whole = o;
    auto unknown = prune(*t.kind, *t.version, o);
    faults.insert(faults.end(), unknown.begin(), unknown.end());
    if (faults.empty()) return {};
    if (w.validation == FieldValidation::strict) {
      std::string all;
      for (const auto& f : faults) all += (all.empty() ? "" : ", ") + f;
      if (patched) return std::unexpected(bad_patch(whole, "strict decoding error: " + all));
      return std::unexpected(
          bad_request(fmt::format("{} in version \"{}\" cannot be handled as a {}: strict decoding error: {}",
                                  t.kind->kind, t.version->name, t.kind->kind, all)));
    }
    if (w.validation == FieldValidation::warn)
      for (const auto& f : faults) warn.push_back(f);
    return {};
  }
  Answer<void> check(const Target& t, const Object& o, const Object* before) {
    auto faults = validate(*t.kind, *t.version, o, before);
    if (t.kind->crd && t.subresource == "status")
      for (auto& f : faults) {
        // The status is looked at alone here.
        auto whole = f.field + " in body";
        if (auto begin = f.message.find(whole); begin != std::string::npos && f.field.starts_with("status."))
          f.message.erase(begin, 7);
      }
    if (faults.empty()) return {};
    return std::unexpected(invalid_object(t.kind->group, t.kind->kind, t.name, faults));
  }
  // The namespace is there and stays.
  Answer<void> check_namespace(const Target& t) {
    if (!t.kind->namespaced) return {};
    auto ns = api.store_.latest("namespaces", {"", t.ns});
    if (!ns) return std::unexpected(not_found("", "namespaces", t.ns));
    if (deleting(*ns)) {
      auto e = make_error(403, "Forbidden",
                          fmt::format("{} \"{}\" is forbidden: unable to create new content in namespace {} because it "
                                      "is being terminated",
                                      t.kind->qualified(), t.name, t.ns));
      e.details["name"] = t.name;
      if (!t.kind->group.empty()) e.details["group"] = t.kind->group;
      e.details["kind"] = t.kind->plural;
      e.details["causes"] = Array{Object{{"reason", "NamespaceTerminating"},
                                         {"message", fmt::format("namespace {} is being terminated", t.ns)},
                                         {"field", "metadata.namespace"}}};
      return std::unexpected(std::move(e));
    }
    return {};
  }
  // Gives an update what only the server writes. `next` and `current` are in the request's version.
  void keep_system_fields(Object& next, const Object& current) {
    auto& meta = metadata(next);
    for (const char* f : {"uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds",
                          "name", "namespace", "generateName", "selfLink"}) {
      if (const auto* v = at(current, fmt::format("metadata.{}", f)))
        meta[f] = *v;
      else
        meta.erase(f);
    }
  }
  // What a CRD serves follows the CRD.
  void after_write(const Target& t, const Object* object) {
    if (t.kind->qualified() != "customresourcedefinitions.apiextensions.k8s.io") return;
    if (object == nullptr || deleting(*object)) return;
    if (auto kind = kind_of_crd(*object)) api.kinds_.put(*kind);
  }

  // From the new object to the store. `current` is what `next` was made from.
  task::Task<Answer<Written>> finish(Target t, Object next, ObjectPtr current, WriteOptions w, bool had_precondition,
                                     std::vector<std::string> warn, bool& lost_race, bool applied) {
    lost_race = false;
    auto before = as_version(current, *t.kind, *t.version);
    auto& meta = metadata(next);
    bool bump = spec_differs(next, *before) && t.subresource != "status";
    if (t.kind->crd && !t.version->status && !bump) {
      // Without a door of its own the status is a field as any other.
      const auto* now = next.if_contains("status");
      const auto* was = before->if_contains("status");
      bump = (now == nullptr) != (was == nullptr) || (now != nullptr && *now != *was);
    }
    if (t.kind->qualified() == "deployments.apps" && t.subresource.empty())
      bump |= object_at(next, "metadata.annotations") != object_at(*before, "metadata.annotations");
    if (t.kind->generation || t.kind->crd) {
      auto g = int_at(*current, "metadata.generation", 1);
      meta["generation"] = bump ? g + 1 : g;
    }
    // A client may rewrite the account of who owns what and nothing else, as kubectl does when it moves to server-side
    // apply.
    const auto* account = applied ? nullptr : at(next, "metadata.managedFields");
    const auto* old_account = at(*before, "metadata.managedFields");
    const bool rewritten = account != nullptr && (old_account == nullptr || *account != *old_account);
    if (!applied && (rewritten || !same(next, *before))) {
      // A client that sends none keeps those that are there.
      if (!meta.contains("managedFields"))
        if (const auto* m = at(*current, "metadata.managedFields")) meta["managedFields"] = *m;
      track_update(before.get(), next, t.version->schema, w.manager, t.kind->api_version(t.version->name),
                   t.subresource);
    }
    if (!rewritten && same(next, *before) && (!applied || next.at("metadata") == before->at("metadata"))) {
      // Nothing changes: nothing is written, as on the real server.
      co_return Written{std::move(before), false, std::move(warn)};
    }
    convert(*t.kind, t.version->name, t.kind->storage().name, next);
    bool goes = deleting(next) && may_go(next);
    if (w.dry_run) {
      auto shown = std::make_shared<const Object>(std::move(next));
      co_return Written{as_version(std::move(shown), *t.kind, *t.version), false, std::move(warn)};
    }
    auto rv = resource_version_of(*current);
    auto table = t.kind->qualified();
    Key key = key_of(*current);
    auto done = goes ? co_await api.store_.remove(table, key, std::move(next), rv)
                     : co_await api.store_.put(table, key, std::move(next), rv);
    if (!done) {
      lost_race = done.error().reason == "Conflict" && !had_precondition;
      co_return std::unexpected(of_store(t, done.error()));
    }
    after_write(t, goes ? nullptr : done->get());
    co_return Written{as_version(std::move(*done), *t.kind, *t.version), false, std::move(warn)};
  }

  // Turns the wished object into the one to be stored, from the same current state.
  Answer<Object> make_next(const Target& t, Object wished, const Object& current, const WriteOptions& w,
                           std::vector<std::string>& warn, bool patched = false) {
    if (!t.subresource.empty()) {
      auto made = write_subresource(t, wished, current);
      if (!made)
        return std::unexpected(make_error(404, "NotFound", "the server could not find the requested resource"));
      if (!*made) return std::unexpected(made->error());
      Object next = std::move(**made);
      complete_status(t, next);
      if (auto r = tidy(t, next, w, warn); !r) return std::unexpected(r.error());
      if (t.kind->crd || t.subresource == "scale")
        if (auto r = check(t, next, &current); !r) return std::unexpected(r.error());
      return next;
    }
    if (auto r = tidy(t, wished, w, warn, patched); !r) return std::unexpected(r.error());
    keep_system_fields(wished, current);
    if (t.version->status && t.kind->qualified() != "nodes") {
      if (const auto* s = current.if_contains("status"))
        wished["status"] = *s;
      else
        wished.erase("status");
    }
    if (auto r = before_update(api, api.hooks_, t, wished, current); !r) return std::unexpected(r.error());
    set_defaults(*t.kind, *t.version, wished);
    if (auto r = check(t, wished, &current); !r) return std::unexpected(r.error());
    return wished;
  }
};

task::Task<Answer<Written>> Api::create(Target t, Object object, WriteOptions w) {
  Steps steps{*this};
  std::vector<std::string> warn;
  auto& meta = metadata(object);
  auto name = std::string(text_at(object, "metadata.name"));
  if (name.empty()) {
    auto prefix = text_at(object, "metadata.generateName");
    if (!prefix.empty()) meta["name"] = name = generated_name(prefix);
  }
  t.name = name;
  if (t.kind->namespaced) {
    auto given = namespace_of(object);
    if (!given.empty() && given != t.ns)
      co_return std::unexpected(
          bad_request("the namespace of the provided object does not match the namespace sent on the request"));
    meta["namespace"] = t.ns;
  } else {
    meta.erase("namespace");
  }
  if (!text_at(object, "metadata.resourceVersion").empty())
    co_return std::unexpected(make_error(500, "", "resourceVersion should not be set on objects to be created"));
  if (auto r = steps.tidy(t, object, w, warn); !r) co_return std::unexpected(r.error());
  if (auto r = steps.check_namespace(t); !r) co_return std::unexpected(r.error());
  auto& m = metadata(object);
  m["uid"] = crypto::uuid4();
  m["creationTimestamp"] = now_text();
  for (const char* f : {"resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"}) m.erase(f);
  if (t.kind->generation || t.kind->crd) m["generation"] = 1;
  if (auto r = before_create(*this, hooks_, t, object, w.dry_run); !r) co_return std::unexpected(r.error());
  set_defaults(*t.kind, *t.version, object);
  after_defaults(t, object);
  if (auto r = steps.check(t, object, nullptr); !r) co_return std::unexpected(r.error());
  for (auto& x : warnings(*t.kind, *t.version, object)) warn.push_back(std::move(x));
  if (!metadata(object).contains("managedFields"))
    track_update(nullptr, object, t.version->schema, w.manager, t.kind->api_version(t.version->name), "");
  auto table = t.kind->qualified();
  Key key{t.kind->namespaced ? t.ns : "", name};
  convert(*t.kind, t.version->name, t.kind->storage().name, object);
  if (w.dry_run) {
    if (store_.latest(table, key)) co_return std::unexpected(already_exists(t.kind->group, t.kind->plural, name));
    auto shown = std::make_shared<const Object>(std::move(object));
    co_return Written{as_version(std::move(shown), *t.kind, *t.version), true, std::move(warn)};
  }
  auto done = co_await store_.put(table, key, std::move(object), Store::kMustNotExist);
  if (!done) co_return std::unexpected(of_store(t, done.error()));
  steps.after_write(t, done->get());
  co_return Written{as_version(std::move(*done), *t.kind, *t.version), true, std::move(warn)};
}

task::Task<Answer<Written>> Api::update(Target t, Object object, WriteOptions w) {
  Steps steps{*this};
  auto given_name = name_of(object);
  if (given_name.empty()) metadata(object)["name"] = t.name;
  if (!given_name.empty() && given_name != t.name)
    co_return std::unexpected(bad_request(
        fmt::format("the name of the object ({}) does not match the name on the URL ({})", given_name, t.name)));
  auto given_version = text_at(object, "metadata.resourceVersion");
  if (!given_version.empty() && !text::to_u64(given_version))
    co_return std::unexpected(
        make_error(500, "", fmt::format("strconv.ParseUint: parsing \"{}\": invalid syntax", given_version)));
  auto wanted = resource_version_of(object);
  auto uid = std::string(uid_of(object));
  for (int i = 0;; ++i) {
    auto current = store_.latest(t.kind->qualified(), {t.kind->namespaced ? t.ns : "", t.name});
    if (!current)
      co_return std::unexpected(uid.empty() ? not_found(t.kind->group, t.kind->plural, t.name) : wrong_uid(t, uid, ""));
    if (wanted != 0 && wanted != resource_version_of(*current)) co_return std::unexpected(modified(t));
    if (!uid.empty() && uid != uid_of(*current)) co_return std::unexpected(wrong_uid(t, uid, uid_of(*current)));
    std::vector<std::string> warn;
    auto base = as_version(current, *t.kind, *t.version);
    auto next = steps.make_next(t, object, *base, w, warn);
    if (!next) co_return std::unexpected(next.error());
    if (t.subresource.empty())
      for (auto& x : warnings(*t.kind, *t.version, *next)) warn.push_back(std::move(x));
    bool lost = false;
    auto done = co_await steps.finish(t, std::move(*next), current, w, wanted != 0, std::move(warn), lost, false);
    if (lost && i < kRetries) continue;
    co_return done;
  }
}

task::Task<Answer<Written>> Api::patch(Target t, PatchType type, Value body, WriteOptions w) {
  Steps steps{*this};
  Key key{t.kind->namespaced ? t.ns : "", t.name};
  for (int i = 0;; ++i) {
    auto current = store_.latest(t.kind->qualified(), key);
    std::vector<std::string> warn;
    if (type == PatchType::apply) {
      if (!body.is_object()) co_return std::unexpected(bad_request("the body of an apply must be an object"));
      Object given = body.get_object();
      auto given_name = text_at(given, "metadata.name");
      if (given_name.empty())
        co_return std::unexpected(bad_request(
            fmt::format("the name of the object ({} based on URL) was undeterminable: name must be provided", t.name)));
      if (given_name != t.name)
        co_return std::unexpected(bad_request(
            fmt::format("the name of the object ({}) does not match the name on the URL ({})", given_name, t.name)));
      if (auto version = resource_version_of(given);
          version != 0 && current && version != resource_version_of(*current))
        co_return std::unexpected(modified(t));
      if (auto uid = uid_of(given); !current && !uid.empty())
        co_return std::unexpected(conflict(
            t.kind->group, t.kind->plural, t.name,
            fmt::format("uid mismatch: the provided object specified uid {}, and no existing object was found", uid)));
      auto base = current ? as_version(current, *t.kind, *t.version) : nullptr;
      if (!current && !t.subresource.empty())
        co_return std::unexpected(not_found(t.kind->group, t.kind->plural, t.name));
      // Built-in kinds are held to their schema by the merge itself; a custom kind's unknown fields are dropped.
      if (t.kind->crd)
        if (auto r = steps.tidy(t, given, w, warn); !r) co_return std::unexpected(r.error());
      ApplyOptions a{w.manager, w.force, t.subresource, t.kind->api_version(t.version->name)};
      auto merged = apply(base.get(), given, t.version->schema, a);
      if (!merged) co_return std::unexpected(merged.error());
      if (t.kind->namespaced) metadata(*merged)["namespace"] = t.ns;
      if (!current) {
        auto done = co_await create(t, std::move(*merged), w);
        if (!done && done.error().reason == "AlreadyExists" && i < kRetries) continue;
        co_return done;
      }
      auto managed =
          at(*merged, "metadata.managedFields") != nullptr ? *at(*merged, "metadata.managedFields") : Value();
      auto quiet = w;
      quiet.validation = FieldValidation::ignore;
      auto next = steps.make_next(t, std::move(*merged), *base, quiet, warn);
      if (!next) co_return std::unexpected(next.error());
      if (!managed.is_null()) metadata(*next)["managedFields"] = std::move(managed);
      for (auto& x : warnings(*t.kind, *t.version, *next)) warn.push_back(std::move(x));
      bool lost = false;
      auto done = co_await steps.finish(t, std::move(*next), current, w, false, std::move(warn), lost, true);
      if (lost && i < kRetries) continue;
      co_return done;
    }
    if (!current) co_return std::unexpected(not_found(t.kind->group, t.kind->plural, t.name));
    auto base = as_version(current, *t.kind, *t.version);
    Object start = t.subresource == "scale" ? scale_of(*base, *t.version) : *base;
    Object wished;
    if (type == PatchType::json) {
      auto r = json_patch(Value(start), body);
      if (!r) co_return std::unexpected(r.error());
      if (!r->is_object()) co_return std::unexpected(bad_request("the patch does not leave an object"));
      wished = std::move(r->get_object());
    } else if (type == PatchType::merge) {
      if (!body.is_object()) co_return std::unexpected(bad_request("the body of a merge patch must be an object"));
      Value v(start);
      merge_patch(v, body);
      wished = std::move(v.get_object());
    } else {
      if (t.kind->crd || t.version->schema == nullptr)
        co_return std::unexpected(unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"));
      if (!body.is_object())
        co_return std::unexpected(bad_request("the body of a strategic merge patch must be an object"));
      auto r = strategic_merge(start, body.get_object(), *t.version->schema);
      if (!r) co_return std::unexpected(r.error());
      wished = std::move(*r);
    }
    auto base_rv = resource_version_of(*current);
    auto wished_rv = resource_version_of(wished);
    bool precondition = wished_rv != base_rv && !text_at(wished, "metadata.resourceVersion").empty();
    if (precondition) co_return std::unexpected(modified(t));
    if (t.subresource != "scale") {
      if (name_of(wished) != t.name)
        co_return std::unexpected(bad_request(fmt::format(
            "the name of the object ({}) does not match the name on the URL ({})", name_of(wished), t.name)));
      auto kind = kind_of(wished);
      auto version = api_version_of(wished);
      if (kind != t.kind->kind || version != t.kind->api_version(t.version->name)) {
        auto dot = t.kind->group.find('.');
        auto internal = t.kind->group.empty() ? std::string("core") : t.kind->group.substr(0, dot);
        co_return std::unexpected(bad_patch(wished, fmt::format("converting ({}.{}) to ({}.{}): unknown conversion",
                                                                t.version->name, kind, internal, t.kind->kind)));
      }
      if (t.version->schema != nullptr && !t.kind->crd) {
        std::vector<std::string> unknown;
        if (auto wrong = check_types(*t.version->schema, wished, unknown))
          co_return std::unexpected(bad_patch(wished, *wrong));
      }
    }
    if (!uid_of(wished).empty() && uid_of(wished) != uid_of(*current))
      co_return std::unexpected(
          conflict(t.kind->group, t.kind->plural, t.name,
                   fmt::format("Precondition failed: UID in precondition: {}, UID in object meta: {}", uid_of(wished),
                               uid_of(*current))));
    auto next = steps.make_next(t, std::move(wished), *base, w, warn, true);
    if (!next) co_return std::unexpected(next.error());
    if (t.subresource.empty())
      for (auto& x : warnings(*t.kind, *t.version, *next)) warn.push_back(std::move(x));
    bool lost = false;
    auto done = co_await steps.finish(t, std::move(*next), current, w, false, std::move(warn), lost, false);
    if (lost && i < kRetries) continue;
    co_return done;
  }
}

task::Task<Answer<Removed>> Api::remove(Target t, DeleteOptions o) {
  Key key{t.kind->namespaced ? t.ns : "", t.name};
  auto table = t.kind->qualified();
  for (int i = 0;; ++i) {
    auto current = store_.latest(table, key);
    if (!current) co_return std::unexpected(not_found(t.kind->group, t.kind->plural, t.name));
    auto precondition = [&](std::string_view what, std::string_view wanted, std::string_view is, std::string_view end) {
      return std::unexpected(conflict(
          t.kind->group, t.kind->kind, t.name,
          fmt::format(
              "the {} in the precondition ({}) does not match the {} in record ({}). The object might have been {}",
              what, wanted, what, is, end)));
    };
    if (!o.uid.empty() && o.uid != uid_of(*current))
      co_return precondition("UID", o.uid, uid_of(*current), "deleted and then recreated");
    if (auto is = text_at(*current, "metadata.resourceVersion");
        !o.resource_version.empty() && o.resource_version != is)
      co_return precondition("ResourceVersion", o.resource_version, is, "modified");
    Object next = *current;
    auto& meta = metadata(next);
    if (o.propagation && *o.propagation != Propagation::background) {
      std::string finalizer = *o.propagation == Propagation::foreground ? "foregroundDeletion" : "orphan";
      auto& list = meta["finalizers"];
      if (!list.is_array()) list = Array{};
      if (std::ranges::find(list.get_array(), Value(finalizer)) == list.get_array().end() && !deleting(*current))
        list.get_array().push_back(Value(finalizer));
    }
    std::int64_t grace = 0;
    bool pod = table == "pods";
    if (pod) {
      auto phase = text_at(next, "status.phase");
      grace = o.grace_seconds.value_or(int_at(next, "spec.terminationGracePeriodSeconds", 30));
      if (text_at(next, "spec.nodeName").empty() || phase == "Succeeded" || phase == "Failed") grace = 0;
      grace = std::max<std::int64_t>(grace, 0);
    }
    bool begun = deleting(*current);
    if (begun && pod) grace = std::min(grace, int_at(next, "metadata.deletionGracePeriodSeconds"));
    if (!begun || (pod && grace != int_at(next, "metadata.deletionGracePeriodSeconds"))) {
      auto at_ms = time::now_ms() + grace * 1000;
      meta["deletionTimestamp"] = time::iso8601_ms(at_ms).substr(0, 19) + "Z";
      meta["deletionGracePeriodSeconds"] = grace;
      if (t.kind->generation || t.kind->crd) meta["generation"] = int_at(next, "metadata.generation", 1) + 1;
      if (table == "namespaces") ensure(next, "status")["phase"] = "Terminating";
    } else if (!may_go(next)) {
      co_return Removed{as_version(std::move(current), *t.kind, *t.version), false};
    }
    bool goes = may_go(next);
    if (o.dry_run) co_return Removed{as_version(std::move(current), *t.kind, *t.version), goes};
    // What goes at once shows no trace of a deletion under way, but for a pod.
    if (goes && !begun && !pod) next = *current;
    auto rv = resource_version_of(*current);
    auto done = goes ? co_await store_.remove(table, key, std::move(next), rv)
                     : co_await store_.put(table, key, std::move(next), rv);
    if (!done) {
      if (done.error().reason == "Conflict" && i < kRetries) continue;
      co_return std::unexpected(of_store(t, done.error()));
    }
    if (goes && table == "customresourcedefinitions.apiextensions.k8s.io")
      kinds_.remove(text_at(**done, "spec.group"), text_at(**done, "spec.names.plural"));
    co_return Removed{as_version(std::move(*done), *t.kind, *t.version), goes};
  }
}

task::Task<Answer<std::vector<ObjectPtr>>> Api::remove_all(Target t, ListQuery q, DeleteOptions o) {
  auto listed = list(t, q);
  if (!listed) co_return std::unexpected(listed.error());
  std::vector<ObjectPtr> out;
  for (auto& item : listed->items) {
    Target one = t;
    one.ns = namespace_of(*item);
    one.name = name_of(*item);
    auto r = co_await remove(one, o);
    if (!r && r.error().reason != "NotFound") co_return std::unexpected(r.error());
    out.push_back(std::move(item));
  }
  co_return out;
}

}  // namespace mr::kube
