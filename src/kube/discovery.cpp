#include <mutex>

#include "json/writer.h"
#include "kube/wire.h"
#include "kube/wire_common.h"

namespace mr::kube {

namespace wire {

namespace {

struct Known {
  std::string_view name, group, version, kind, verbs;  // kind empty: the parent's own
};
// By the name of the subresource; those of a Service and a Node have kinds of their own.
constexpr Known known[] = {
    {"attach", "", "v1", "PodAttachOptions", "create get"},
    {"binding", "", "v1", "Binding", "create"},
    {"ephemeralcontainers", "", "", "", "get patch update"},
    {"eviction", "policy", "v1", "Eviction", "create"},
    {"exec", "", "v1", "PodExecOptions", "create get"},
    {"finalize", "", "", "", "update"},
    {"log", "", "", "", "get"},
    {"portforward", "", "v1", "PodPortForwardOptions", "create get"},
    {"resize", "", "", "", "get patch update"},
    {"token", "authentication.k8s.io", "v1", "TokenRequest", "create"},
};

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const auto end = std::min(text.find(' '), text.size());
    out.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

}  // namespace

std::vector<Subresource> subresources(const Kind& kind, const KindVersion& version) {
  std::vector<Subresource> out;
  for (const auto& name : kind.subresources) {
    Subresource s;
    s.name = name;
    if (name == "proxy") {
      s.version = "v1";
      s.kind = kind.kind + "ProxyOptions";
      s.verbs = words("create delete get patch update");
    } else {
      const auto* k = std::ranges::find(known, name, &Known::name);
      if (k == std::end(known)) continue;
      s.group = k->kind.empty() ? kind.group : std::string(k->group);
      s.version = k->kind.empty() ? version.name : std::string(k->version);
      s.kind = k->kind.empty() ? kind.kind : std::string(k->kind);
      s.verbs = words(k->verbs);
    }
    out.push_back(std::move(s));
  }
  if (version.status) out.push_back({"status", kind.group, version.name, kind.kind, words("get patch update")});
  if (version.scale) out.push_back({"scale", "autoscaling", "v1", "Scale", words("get patch update")});
  std::ranges::sort(out, {}, &Subresource::name);
  return out;
}

std::vector<GroupVersion> group_versions(const Kinds& kinds) {
  std::vector<GroupVersion> out;
  const auto all = kinds.all();
  for (std::size_t i = 0; i < all.size();) {
    auto end = i;
    while (end < all.size() && all[end]->group == all[i]->group) ++end;
    const auto first = out.size();
    for (; i < end; ++i)
      for (const auto& v : all[i]->versions) {
        if (!v.served) continue;
        auto it = std::find_if(out.begin() + static_cast<std::ptrdiff_t>(first), out.end(),
                               [&](const GroupVersion& g) { return g.version == v.name; });
        if (it == out.end()) {
          out.push_back({all[i]->group, v.name, {}});
          it = out.end() - 1;
        }
        it->kinds.push_back(all[i]);
      }
    // v2 before v1 before v1beta2 before v1beta1 before v1alpha3.
    auto weight = [](std::string_view v) {
      int major = 0, minor = 0, stage = 3;
      std::size_t at = 1;
      for (; at < v.size() && v[at] >= '0' && v[at] <= '9' && major < 10000; ++at) major = major * 10 + (v[at] - '0');
      const auto rest = v.substr(std::min(at, v.size()));
      if (rest.starts_with("beta"))
        stage = 2;
      else if (rest.starts_with("alpha"))
        stage = 1;
      else if (!rest.empty())
        stage = 0;
      for (const char c : rest)
        if (c >= '0' && c <= '9' && minor < 10000) minor = minor * 10 + (c - '0');
      return std::tuple(-stage, -major, -minor);
    };
    std::sort(out.begin() + static_cast<std::ptrdiff_t>(first), out.end(),
              [&](const GroupVersion& a, const GroupVersion& b) { return weight(a.version) < weight(b.version); });
  }
  return out;
}

std::string cached(const Kinds& kinds, std::string_view key, const std::function<std::string()>& make) {
  static std::mutex mutex;
  static std::map<std::uint64_t, std::map<std::string, std::shared_ptr<const std::string>, std::less<>>> documents;
  constexpr std::size_t kept_generations = 2;
  const auto generation = kinds.generation();
  std::shared_ptr<const std::string> found;
  {
    const std::lock_guard lock(mutex);
    const auto g = documents.find(generation);
    if (g != documents.end()) {
      const auto it = g->second.find(key);
      if (it != g->second.end()) found = it->second;
    }
  }
  if (found) return *found;
  auto made = std::make_shared<const std::string>(make());
  const std::lock_guard lock(mutex);
  // Kinds may have changed meanwhile; what was made belongs to neither generation for sure then.
  if (kinds.generation() == generation) documents[generation].insert_or_assign(std::string(key), made);
  while (documents.size() > kept_generations) documents.erase(documents.begin());
  return *made;
}

}  // namespace wire

namespace {

using json::Writer;
using wire::GroupVersion;

void texts(Writer& w, std::string_view key, const std::vector<std::string>& values) {
  w.key(key);
  w.begin_array();
  for (const auto& v : values) w.string(v);
  w.end_array();
}

void response_kind(Writer& w, std::string_view group, std::string_view version, std::string_view kind) {
  w.key("responseKind");
  w.begin_object();
  w.field("group", group);
  w.field("version", version);
  w.field("kind", kind);
  w.end_object();
}

void aggregated_version(Writer& w, const GroupVersion& gv) {
  w.begin_object();
  w.field("version", gv.version);
  w.key("resources");
  w.begin_array();
  for (const auto& k : gv.kinds) {
    const auto& v = *k->version(gv.version);
    w.begin_object();
    w.field("resource", k->plural);
    response_kind(w, gv.group, gv.version, k->kind);
    w.field("scope", std::string_view(k->namespaced ? "Namespaced" : "Cluster"));
    w.field("singularResource", k->singular);
    texts(w, "verbs", k->verbs);
    if (!k->short_names.empty()) texts(w, "shortNames", k->short_names);
    if (!k->categories.empty()) texts(w, "categories", k->categories);
    const auto subs = wire::subresources(*k, v);
    if (!subs.empty()) {
      w.key("subresources");
      w.begin_array();
      for (const auto& s : subs) {
        w.begin_object();
        w.field("subresource", s.name);
        response_kind(w, s.group, s.version, s.kind);
        texts(w, "verbs", s.verbs);
        w.end_object();
      }
      w.end_array();
    }
    w.end_object();
  }
  w.end_array();
  w.field("freshness", std::string_view("Current"));
  w.end_object();
}

void group_body(Writer& w, const std::vector<GroupVersion>& all, std::string_view group) {
  w.field("name", group);
  w.key("versions");
  w.begin_array();
  const GroupVersion* preferred = nullptr;
  for (const auto& gv : all) {
    if (gv.group != group) continue;
    if (!preferred) preferred = &gv;
    w.begin_object();
    w.field("groupVersion", gv.api_version());
    w.field("version", gv.version);
    w.end_object();
  }
  w.end_array();
  w.key("preferredVersion");
  w.begin_object();
  w.field("groupVersion", preferred->api_version());
  w.field("version", preferred->version);
  w.end_object();
}

}  // namespace

std::string aggregated_discovery(const Kinds& kinds, bool core, std::string_view version) {
  const auto key = fmt::format("aggregated {} {}", core, version);
  return wire::cached(kinds, key, [&] {
    std::string out;
    Writer w(out);
    w.begin_object();
    w.field("kind", std::string_view("APIGroupDiscoveryList"));
    w.field("apiVersion", fmt::format("apidiscovery.k8s.io/{}", version));
    w.key("metadata");
    w.begin_object();
    w.end_object();
    w.key("items");
    w.begin_array();
    const auto all = wire::group_versions(kinds);
    for (std::size_t i = 0; i < all.size();) {
      const auto& group = all[i].group;
      const bool wanted = group.empty() == core;
      if (wanted) {
        w.begin_object();
        w.key("metadata");
        w.begin_object();
        if (!group.empty()) w.field("name", group);
        w.key("creationTimestamp");
        w.null();
        w.end_object();
        w.key("versions");
        w.begin_array();
      }
      for (const auto first = i; i < all.size() && all[i].group == all[first].group; ++i)
        if (wanted) aggregated_version(w, all[i]);
      if (wanted) {
        w.end_array();
        w.end_object();
      }
    }
    w.end_array();
    w.end_object();
    return out;
  });
}

std::string api_versions_document(std::string_view server_address) {
  std::string out;
  Writer w(out);
  w.begin_object();
  w.field("kind", std::string_view("APIVersions"));
  texts(w, "versions", {"v1"});
  w.key("serverAddressByClientCIDRs");
  w.begin_array();
  w.begin_object();
  w.field("clientCIDR", std::string_view("0.0.0.0/0"));
  w.field("serverAddress", server_address);
  w.end_object();
  w.end_array();
  w.end_object();
  return out;
}

std::string api_group_list(const Kinds& kinds) {
  return wire::cached(kinds, "groups", [&] {
    std::string out;
    Writer w(out);
    w.begin_object();
    w.field("kind", std::string_view("APIGroupList"));
    w.field("apiVersion", std::string_view("v1"));
    w.key("groups");
    w.begin_array();
    const auto all = wire::group_versions(kinds);
    std::string_view last;
    for (const auto& gv : all) {
      if (gv.group.empty() || gv.group == last) continue;
      last = gv.group;
      w.begin_object();
      group_body(w, all, gv.group);
      w.end_object();
    }
    w.end_array();
    w.end_object();
    return out;
  });
}

std::optional<std::string> api_group(const Kinds& kinds, std::string_view group) {
  const auto all = wire::group_versions(kinds);
  if (group.empty() || std::ranges::find(all, group, &GroupVersion::group) == all.end()) return std::nullopt;
  std::string out;
  Writer w(out);
  w.begin_object();
  w.field("kind", std::string_view("APIGroup"));
  w.field("apiVersion", std::string_view("v1"));
  group_body(w, all, group);
  w.end_object();
  return out;
}

std::optional<std::string> api_resource_list(const Kinds& kinds, std::string_view group, std::string_view version) {
  const auto all = wire::group_versions(kinds);
  const auto gv = std::ranges::find_if(all, [&](const auto& g) { return g.group == group && g.version == version; });
  if (gv == all.end()) return std::nullopt;
  return wire::cached(kinds, "resources " + gv->path(), [&] {
    std::string out;
    Writer w(out);
    w.begin_object();
    w.field("kind", std::string_view("APIResourceList"));
    if (!gv->group.empty()) w.field("apiVersion", std::string_view("v1"));
    w.field("groupVersion", gv->api_version());
    w.key("resources");
    w.begin_array();
    for (const auto& k : gv->kinds) {
      w.begin_object();
      w.field("name", k->plural);
      w.field("singularName", k->singular);
      w.field("namespaced", k->namespaced);
      w.field("kind", k->kind);
      texts(w, "verbs", k->verbs);
      if (!k->short_names.empty()) texts(w, "shortNames", k->short_names);
      if (!k->categories.empty()) texts(w, "categories", k->categories);
      w.end_object();
      for (const auto& s : wire::subresources(*k, *k->version(gv->version))) {
        w.begin_object();
        w.field("name", k->plural + "/" + s.name);
        w.field("singularName", std::string_view());
        w.field("namespaced", k->namespaced);
        if (s.group != gv->group || s.version != gv->version) {
          w.field("group", s.group);
          w.field("version", s.version);
        }
        w.field("kind", s.kind);
        texts(w, "verbs", s.verbs);
        w.end_object();
      }
    }
    w.end_array();
    w.end_object();
    return out;
  });
}

}  // namespace mr::kube
