// Plays the recorded cases of a real API server against defaults, checks, patches and server-side apply, without a
// server around them. What only a server answers (decoding, paths, lists) is left to the tests in tests/kube.
#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <fstream>
#include <regex>

#include "json/parse.h"
#include "kube/admission.h"
#include "kube/patch.h"
#include "text/text.h"

namespace mr::kube {
namespace {

// Cases that cannot be answered alike from here, by reason.
constexpr const char* kKnown[] = {
    // answered by the server around: versions, preconditions, names of managers, options, decoding
    "meta/generate-name",
    "meta/generate-name-bad",
    "meta/generate-name-long",
    "meta/resource-version-on-create",
    "meta/self-link-and-cluster-fields",
    "body/no-kind",
    "validation/bad-mode",
    "strict/patch",
    "path/exists",
    "path/exists-group",
    "conflict/stale-put",
    "conflict/stale-patch",
    "conflict/other-uid-put",
    "conflict/bad-version-put",
    "delete/finalizer",
    "manager/too-long",
    "manager/not-printable",
    "patch/json-to-wrong-type",
    "patch/merge-kind",
    "patch/merge-wrong-type-of-field",
    "apply/no-manager",
    "apply/force-without-apply",
    "apply/stale-version",
    "apply/new-with-uid",
    "namespace/finalizers-by-main",
    "namespace/exists",
    "deployment/spec-by-status",
    "custom/status-subresource",
    "custom/put-without-version",
    "managed/create-default-manager",
    // addresses, node ports and priorities are given out by the server
    "service/cluster-ip-outside",
    "service/cluster-ip-changes",
    "default/service-node-port",
    "default/service-load-balancer",
    "default/pod-never",
    // uids of other steps
    "strategic/owners-merge",
    "strategic/owners-by-uid",
    "managed/finalizers-and-owners",
    // dumps of the real server's memory
    "pod/privileged-without-escalation",
    "job/template-changes",
    // other here on purpose: pods have loopback addresses; no node is tainted at first; claims go at once
    "endpoints/loopback",
    "default/node",
    "default/claim",
    // times that are absent count as null members there
    "managed/status",
};

constexpr std::string_view kUid = "11111111-1111-1111-1111-111111111111";

void replace_all(std::string& s, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = s.find(from, at)) != std::string::npos; at += to.size())
    s.replace(at, from.size(), to);
}

Value widen(const Value& v) {
  if (const auto* o = v.if_object()) {
    if (o->size() == 1 && o->contains("repeat")) {
      const auto& r = o->at("repeat").as_array();
      std::string out;
      for (std::int64_t i = 0; i < r.at(1).as_int64(); ++i) out += std::string_view(r.at(0).as_string());
      return Value(out);
    }
    Object out;
    for (const auto& m : *o) out[m.key()] = widen(m.value());
    return out;
  }
  if (const auto* a = v.if_array()) {
    Array out;
    for (const auto& e : *a) out.push_back(widen(e));
    return out;
  }
  return v;
}

std::string masked(std::string s) {
  static const std::regex pointer("0x[0-9a-f]{8,}"), time(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z)");
  s = std::regex_replace(s, pointer, "{pointer}");
  s = std::regex_replace(s, time, "{time}");
  replace_all(s, kUid, "{uid}");
  return s;
}

struct Place {
  KindPtr kind;
  const KindVersion* version = nullptr;
  std::string ns, name, sub;
};

// A server without storage: objects by place, in one namespace.
class Mini {
 public:
  Kinds kinds;
  std::map<std::string, Object> objects;

  std::optional<Place> place(std::string_view path) {
    std::vector<std::string> parts;
    for (auto p : text::split(path.substr(1), '/')) parts.emplace_back(p);
    Place out;
    std::size_t i = 1;
    std::string group;
    if (parts[0] == "apis" && parts.size() > 3)
      group = parts[i++];
    else if (parts[0] != "api" || parts.size() < 3)
      return std::nullopt;
    auto version = parts[i++];
    if (parts[i] == "namespaces" && parts.size() > i + 2) {
      out.ns = parts[i + 1];
      i += 2;
    }
    if (i >= parts.size()) return std::nullopt;
    out.kind = kinds.find(group, version, parts[i++]);
    if (!out.kind) return std::nullopt;
    out.version = out.kind->version(version);
    if (i < parts.size()) out.name = parts[i++];
    if (i < parts.size()) out.sub = parts[i++];
    return out;
  }

  std::expected<Object, ApiError> create(const Place& p, Object o, const std::string& manager, bool applied = false) {
    auto& meta = metadata(o);
    if (p.kind->namespaced) meta["namespace"] = p.ns;
    prune(*p.kind, *p.version, o);
    meta["uid"] = kUid;
    meta["creationTimestamp"] = "{time}";
    if (name_of(o).empty() && !text_at(o, "metadata.generateName").empty())
      metadata(o)["name"] = std::string(text_at(o, "metadata.generateName")) + "xxxxx";
    if (p.version->status) o.erase("status");
    set_defaults(*p.kind, *p.version, o);
    if (auto faults = validate(*p.kind, *p.version, o, nullptr); !faults.empty())
      return std::unexpected(invalid_object(p.kind->group, p.kind->kind, name_of(o), faults));
    if (!applied) track_update(nullptr, o, p.version->schema, manager, p.kind->api_version(p.version->name), p.sub);
    if (p.kind->kind == "CustomResourceDefinition")
      if (auto kind = kind_of_crd(o)) kinds.put(*kind);
    objects[key(p, name_of(o))] = o;
    return o;
  }

  std::expected<Object, ApiError> change(const Place& p, Object next, const std::string& manager, bool applied) {
    auto current = objects.at(key(p, p.name));
    prune(*p.kind, *p.version, next);
    for (auto f : {"uid", "creationTimestamp", "name", "namespace"})
      if (const auto* v = at(current, fmt::format("metadata.{}", f))) metadata(next)[f] = *v;
    if (p.version->status && p.sub.empty()) {
      next.erase("status");
      if (const auto* s = current.if_contains("status")) next["status"] = *s;
    }
    set_defaults(*p.kind, *p.version, next);
    if (auto faults = validate(*p.kind, *p.version, next, &current); !faults.empty() && p.sub.empty())
      return std::unexpected(invalid_object(p.kind->group, p.kind->kind, name_of(next), faults));
    if (!applied) {
      if (!metadata(next).contains("managedFields"))
        if (const auto* m = at(current, "metadata.managedFields")) metadata(next)["managedFields"] = *m;
      track_update(&current, next, p.version->schema, manager, p.kind->api_version(p.version->name), p.sub);
    }
    objects[key(p, p.name)] = next;
    return next;
  }

  static std::string key(const Place& p, std::string_view name) {
    return fmt::format("{}/{}/{}", p.kind->qualified(), p.ns, name);
  }
};

void drop_path(Value& v, std::string_view path) {
  auto dot = path.find('.');
  auto* o = v.if_object();
  if (o == nullptr) return;
  auto name = path.substr(0, dot);
  if (dot == std::string_view::npos)
    o->erase(name);
  else if (auto* below = o->if_contains(name))
    drop_path(*below, path.substr(dot + 1));
}

void differ(const Value& want, const Value& got, const std::string& path, std::vector<std::string>& out) {
  if (want.is_object() && got.is_object()) {
    for (const auto& m : want.get_object()) {
      const auto* g = got.get_object().if_contains(m.key());
      auto here = path + "." + std::string(m.key());
      if (g == nullptr)
        out.push_back("missing " + here + ": " + json::serialize(m.value()));
      else
        differ(m.value(), *g, here, out);
    }
    for (const auto& m : got.get_object())
      if (!want.get_object().contains(m.key()))
        out.push_back("too much " + path + "." + std::string(m.key()) + ": " + json::serialize(m.value()));
    return;
  }
  if (want.is_array() && got.is_array() && want.get_array().size() == got.get_array().size()) {
    for (std::size_t i = 0; i < want.get_array().size(); ++i)
      differ(want.get_array()[i], got.get_array()[i], fmt::format("{}[{}]", path, i), out);
    return;
  }
  if (!same(want, got)) out.push_back(path + ": want " + json::serialize(want) + ", got " + json::serialize(got));
}

// A pod of the real server has its account's token mounted; that is the server's work.
void strip_account(Value& list) {
  auto* a = list.if_array();
  if (a == nullptr) return;
  Array kept;
  for (auto& e : *a)
    if (!e.is_object() || !text_at(e.get_object(), "name").starts_with("kube-api-access-"))
      kept.push_back(std::move(e));
  *a = std::move(kept);
}
void strip_accounts(Value& pod) {
  auto* spec = pod.is_object() ? pod.get_object().if_contains("spec") : nullptr;
  if (spec == nullptr || !spec->is_object()) return;
  auto strip = [](Object& o, std::string_view key) {
    auto* list = o.if_contains(key);
    if (list == nullptr) return;
    strip_account(*list);
    if (list->is_array() && list->get_array().empty()) o.erase(key);
  };
  strip(spec->get_object(), "volumes");
  for (auto key : {"containers", "initContainers"})
    if (auto* list = spec->get_object().if_contains(key); list != nullptr && list->is_array())
      for (auto& c : list->get_array())
        if (c.is_object()) strip(c.get_object(), "volumeMounts");
}

// The faults of a message in an order of their own: the real server's is not always the same.
std::vector<std::string> causes_of(const Object& status) {
  std::vector<std::string> out;
  for (const auto& c : array_at(status, "details.causes"))
    out.push_back(fmt::format("{} {}: {}", text_at(c.as_object(), "reason"), text_at(c.as_object(), "field"),
                              text_at(c.as_object(), "message")));
  // What follows is a comparison of two dumps of memory.
  for (auto& text : out)
    if (auto dump = text.find("\n  core."); dump != std::string::npos) text.resize(dump);
  std::ranges::sort(out);
  return out;
}

struct Player {
  Mini mini;
  std::vector<std::string> out;  // differences
  std::size_t played = 0;

  void fault(std::string what) { out.push_back(std::move(what)); }

  void compare_error(const ApiError& e, int status, const Object& answer) {
    ++played;
    if (e.code != status) fault(fmt::format("status: want {}, got {} {}", status, e.code, e.message));
    auto want = causes_of(answer), got = causes_of(status_of(e));
    for (auto& g : got) g = masked(g);
    for (const auto& w : want)
      if (std::ranges::find(got, w) == got.end()) fault("missing: " + w);
    for (const auto& g : got)
      if (std::ranges::find(want, g) == want.end()) fault("too much: " + g);
    if (want.empty() && got.empty() && text_at(answer, "message") != masked(e.message))
      fault(fmt::format("message: want {}\n  got {}", text_at(answer, "message"), masked(e.message)));
  }

  void compare_object(const Object& got, const Object& step) {
    const auto* answer = step.if_contains("answer");
    if (answer == nullptr || !answer->is_object()) return;
    ++played;
    Value want = *answer;
    Value have = json::parse(masked(json::serialize(Value(got)))).value();
    for (auto path : {"metadata.resourceVersion", "metadata.generation", "status", "spec.clusterIP", "spec.clusterIPs"})
      for (auto* v : {&want, &have}) drop_path(*v, path);
    for (const auto& d : array_at(step, "drop"))
      for (auto* v : {&want, &have}) drop_path(*v, std::string_view(d.as_string()));
    if (text_at(*want.if_object(), "kind") == "Pod") strip_accounts(want);
    if (at(want, "metadata.managedFields") == nullptr) drop_path(have, "metadata.managedFields");
    differ(want, have, "", out);
  }

  std::expected<Object, ApiError> patch(const Place& p, const Object& step, const Value& body) {
    auto type = text_at(step, "type");
    auto manager = std::string(text_at(step, "query.fieldManager", "python-requests"));
    auto it = mini.objects.find(Mini::key(p, p.name));
    if (type.starts_with("application/apply-patch")) {
      ApplyOptions o{manager, text_at(step, "query.force") == "true", p.sub, p.kind->api_version(p.version->name)};
      const Object* live = it == mini.objects.end() ? nullptr : &it->second;
      auto next = apply(live, body.as_object(), p.version->schema, o);
      if (!next) return next;
      return live == nullptr ? mini.create(p, std::move(*next), manager, true)
                             : mini.change(p, std::move(*next), manager, true);
    }
    if (it == mini.objects.end()) return std::unexpected(make_error(404, "NotFound", ""));
    Value next = it->second;
    if (type.starts_with("application/merge-patch")) {
      merge_patch(next, body);
    } else if (type.starts_with("application/json-patch")) {
      auto r = json_patch(next, body);
      if (!r) return std::unexpected(r.error());
      next = std::move(*r);
    } else {
      auto r = strategic_merge(it->second, body.as_object(), *p.version->schema);
      if (!r) return r;
      next = std::move(*r);
    }
    return mini.change(p, next.as_object(), manager, false);
  }

  void step(const Object& s) {
    auto method = text_at(s, "method");
    auto place = mini.place(text_at(s, "path"));
    const auto* body = s.if_contains("body");
    auto status = int_at(s, "status");
    if (!place || body == nullptr || place->kind->virtual_kind || place->kind->verbs.empty()) return;
    if (!place->sub.empty() && place->sub != "status") return;
    if (method != "POST" && method != "PATCH" && method != "PUT") return;
    if (method == "POST" && !body->is_object()) return;
    if (at(s, "query.dryRun") != nullptr) return;
    // Others judge these: the decoder, the authoriser, the paths.
    if (status != 200 && status != 201 && status != 422 && status != 409 && status != 500) return;
    std::expected<Object, ApiError> got;
    auto manager = std::string(text_at(s, "query.fieldManager", "python-requests"));
    if (method == "POST") {
      if (!place->name.empty()) return;
      got = mini.create(*place, body->get_object(), manager);
    } else if (method == "PUT") {
      if (!mini.objects.contains(Mini::key(*place, place->name))) return;
      got = mini.change(*place, body->get_object(), manager, false);
    } else {
      got = patch(*place, s, *body);
    }
    if (bool_at(s, "setup")) {
      if (!got) fault("setup: " + got.error().message);
      return;
    }
    if (!got)
      compare_error(got.error(), static_cast<int>(status), object_at(s, "answer"));
    else if (status >= 400)
      fault(fmt::format("want {} {}", status, text_at(s, "answer.message")));
    else
      compare_object(*got, s);
  }
};

class KubeCorpus : public testing::TestWithParam<const char*> {};

TEST_P(KubeCorpus, IsAnsweredAlike) {
  auto file = std::filesystem::path(__FILE__).parent_path() / "../../tests/corpus/kube" / GetParam();
  std::ifstream in(file);
  ASSERT_TRUE(in) << file;
  std::set<std::string> known;
  for (auto name : kKnown) known.emplace(name);
  std::string line;
  std::size_t played = 0;
  while (std::getline(in, line)) {
    replace_all(line, "{ns}", "the-ns");
    auto c = widen(json::parse(line).value()).as_object();
    auto name = std::string(text_at(c, "case"));
    Player player;
    for (const auto& s : array_at(c, "steps")) player.step(s.as_object());
    played += player.played;
    if (known.contains(name)) continue;
    for (const auto& d : player.out) ADD_FAILURE() << name << ": " << d;
  }
  RecordProperty("steps", std::to_string(played));
}

INSTANTIATE_TEST_SUITE_P(Files, KubeCorpus,
                         testing::Values("errors.jsonl", "pods.jsonl", "kinds.jsonl", "custom.jsonl", "defaults.jsonl",
                                         "sequences.jsonl"));

}  // namespace
}  // namespace mr::kube
