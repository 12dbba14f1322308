#include "services/directory.h"

#include "text/text.h"

namespace mr::services {

namespace {

std::uint64_t hash(std::string_view a, std::string_view b, std::uint16_t c) {
  std::uint64_t h = 0xcbf29ce484222325ULL;
  for (auto t : {a, b}) {
    for (unsigned char ch : t) h = (h ^ ch) * 0x100000001b3ULL;
    h = (h ^ 0xff) * 0x100000001b3ULL;
  }
  h = (h ^ c) * 0x100000001b3ULL;
  h ^= h >> 32;
  h *= 0x9e3779b97f4a7c15ULL;
  return h ^ (h >> 29);
}

std::uint64_t draw() {
  thread_local std::uint64_t state = reinterpret_cast<std::uintptr_t>(&state) | 1;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

bool has(const Endpoint& e, const std::vector<std::pair<std::string, std::string>>& labels) {
  return std::ranges::all_of(labels, [&](const auto& l) { return std::ranges::find(e.labels, l) != e.labels.end(); });
}

struct Found {
  std::string ip, pod, hostname;
  std::map<std::string, std::uint16_t> ports;  // by name
};

std::uint16_t port_number(const kube::Value& p) {
  const auto* v = kube::at(p, "port");
  if (v == nullptr || !v->is_number()) return 0;
  boost::system::error_code ec;
  auto n = v->to_number<std::int64_t>(ec);
  return !ec && n > 0 && n < 65536 ? static_cast<std::uint16_t>(n) : 0;
}
std::string text_of(const kube::Value& v, std::string_view path) {
  const auto* x = kube::at(v, path);
  const auto* s = x != nullptr ? x->if_string() : nullptr;
  return s != nullptr ? std::string(*s) : std::string();
}
bool tcp(const kube::Value& port) {
  auto p = text_of(port, "protocol");
  return p.empty() || p == "TCP";
}
std::map<std::string, std::uint16_t> ports_of(const kube::Array& ports) {
  std::map<std::string, std::uint16_t> all;
  for (const auto& p : ports)
    if (auto n = port_number(p); n != 0 && tcp(p)) all[text_of(p, "name")] = n;
  return all;
}

void from_endpoints(const kube::Object& endpoints, std::vector<Found>& out) {
  for (const auto& s : kube::array_at(endpoints, "subsets")) {
    const auto* o = s.if_object();
    if (o == nullptr) continue;
    auto ports = ports_of(kube::array_at(*o, "ports"));
    for (const auto& a : kube::array_at(*o, "addresses"))
      out.push_back({text_of(a, "ip"), text_of(a, "targetRef.name"), text_of(a, "hostname"), ports});
  }
}
void from_slice(const kube::Object& slice, std::vector<Found>& out) {
  auto ports = ports_of(kube::array_at(slice, "ports"));
  for (const auto& e : kube::array_at(slice, "endpoints")) {
    const auto* ready = kube::at(e, "conditions.ready");
    if (ready != nullptr && ready->is_bool() && !ready->get_bool()) continue;
    const auto* addresses = kube::at(e, "addresses");
    if (addresses == nullptr || !addresses->is_array()) continue;
    for (const auto& a : addresses->get_array())
      if (a.is_string())
        out.push_back({std::string(a.get_string()), text_of(e, "targetRef.name"), text_of(e, "hostname"), ports});
  }
}

}  // namespace

const Port* Service::find(std::uint16_t number) const {
  if (number == 0) return ports.size() == 1 ? ports[0].get() : nullptr;
  for (const auto& p : ports)
    if (p->port == number) return p.get();
  return nullptr;
}

ServicePtr make_service(const kube::ObjectPtr& service, const kube::Object* endpoints,
                        const std::vector<kube::ObjectPtr>& slices, const PodLabels& pod_labels,
                        const Service* before) {
  auto s = std::make_shared<Service>();
  s->ns = kube::namespace_of(*service);
  s->name = kube::name_of(*service);
  auto ip = kube::text_at(*service, "spec.clusterIP");
  bool external = kube::text_at(*service, "spec.type") == "ExternalName";
  if (external)
    s->external_name = kube::text_at(*service, "spec.externalName");
  else if (ip != "None")
    s->cluster_ip = ip;
  s->client_affinity = kube::text_at(*service, "spec.sessionAffinity") == "ClientIP";

  // The Endpoints object speaks for the slices made from it; slices that others made stand beside it.
  std::vector<Found> found;
  if (endpoints != nullptr) from_endpoints(*endpoints, found);
  for (const auto& slice : slices) {
    auto by = kube::label(*slice, "endpointslice.kubernetes.io/managed-by");
    if (endpoints != nullptr && by.ends_with(".k8s.io")) continue;
    from_slice(*slice, found);
  }

  std::map<std::tuple<std::string, std::uint16_t, std::string>, EndpointPtr> known;
  if (before != nullptr)
    for (const auto& p : before->ports)
      for (const auto& e : p->ready) known[{e->ip, e->port, e->pod}] = e;

  for (const auto& sp : kube::array_at(*service, "spec.ports")) {
    if (!tcp(sp)) continue;
    auto p = std::make_unique<Port>();
    p->name = text_of(sp, "name");
    p->port = port_number(sp);
    if (const auto* n = kube::at(sp, "nodePort"); n != nullptr && n->is_int64())
      p->node_port = static_cast<std::uint16_t>(n->get_int64());
    for (const auto& f : found) {
      auto it = f.ports.find(p->name);
      // A Service of one nameless port takes what a hand-made Endpoints calls its only one.
      if (it == f.ports.end() && p->name.empty() && f.ports.size() == 1) it = f.ports.begin();
      if (it == f.ports.end()) continue;
      bool twice = std::ranges::any_of(p->ready, [&](const auto& e) { return e->ip == f.ip && e->port == it->second; });
      if (twice) continue;
      auto e = std::make_shared<Endpoint>();
      e->ip = f.ip;
      e->port = it->second;
      e->pod = f.pod;
      if (const auto* labels = f.pod.empty() || !pod_labels ? nullptr : pod_labels(s->ns, f.pod))
        for (const auto& kv : *labels)
          if (kv.value().is_string())
            e->labels.emplace_back(std::string(kv.key()), std::string(kv.value().get_string()));
      auto old = known.find({e->ip, e->port, e->pod});
      if (old != known.end() && old->second->labels == e->labels)
        p->ready.push_back(old->second);
      else
        p->ready.push_back(std::move(e));
    }
    s->ports.push_back(std::move(p));
  }
  if (s->cluster_ip.empty() && !external)
    for (const auto& f : found) s->addresses.push_back({f.ip, f.hostname});
  // What has a cluster IP answers under it; only a hostname of a pod is a name of its own.
  if (!s->cluster_ip.empty())
    for (const auto& f : found)
      if (!f.hostname.empty()) s->addresses.push_back({f.ip, f.hostname});
  return s;
}

EndpointPtr pick(const Port& port, const Choice& c) {
  const auto n = port.ready.size();
  if (n == 0) return nullptr;
  auto fits = [&](const EndpointPtr& e) {
    if (c.subset != nullptr && !has(*e, *c.subset)) return false;
    return c.tried == nullptr || std::ranges::find(*c.tried, e) == c.tried->end();
  };
  if (!c.client.empty()) {
    // Rendezvous: a client moves only when its endpoint goes, or one that suits it better comes.
    EndpointPtr best;
    std::uint64_t most = 0;
    for (const auto& e : port.ready) {
      if (!fits(e)) continue;
      auto h = hash(c.client, e->ip, e->port);
      if (!best || h > most) {
        best = e;
        most = h;
      }
    }
    return best;
  }
  std::size_t start = c.policy == Policy::random ? draw() % n : port.turn.fetch_add(1, std::memory_order_relaxed) % n;
  EndpointPtr best;
  std::uint32_t least = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const auto& e = port.ready[(start + i) % n];
    if (!fits(e)) continue;
    if (c.policy != Policy::least_busy) return e;
    auto busy = e->active.load(std::memory_order_relaxed);
    if (!best || busy < least) {
      best = e;
      least = busy;
    }
  }
  return best;
}

ServicePtr Directory::find(std::string_view ns, std::string_view name) const {
  auto map = map_.load();
  auto it = map->find({std::string(ns), std::string(name)});
  return it == map->end() ? nullptr : it->second;
}

namespace {
std::string names_of(std::string_view host, std::string_view ns, bool short_name) {
  auto s = fmt::format("{0}.{1}.svc.cluster.local {0}.{1}.svc {0}.{1}", host, ns);
  if (short_name) s.append(" ").append(host);
  return s;
}
}  // namespace

Lines hosts_lines(const Directory::Map& map, std::string_view own_ns,
                  const std::function<std::vector<std::string>(const std::string& host)>& resolved) {
  Lines lines;
  for (const auto& [key, s] : map) {
    auto names = names_of(s->name, s->ns, s->ns == own_ns);
    if (!s->cluster_ip.empty()) lines.emplace_back(s->cluster_ip, names);
    for (const auto& a : s->addresses) {
      if (s->cluster_ip.empty()) lines.emplace_back(a.ip, names);
      if (!a.hostname.empty())
        lines.emplace_back(a.ip, names_of(fmt::format("{}.{}", a.hostname, s->name), s->ns, s->ns == own_ns));
    }
    if (s->external_name.empty()) continue;
    // A name of the cluster's own is answered from the map, without asking anybody.
    auto parts = text::split(s->external_name, '.');
    if (parts.size() >= 3 && parts[2] == "svc") {
      auto it = map.find({std::string(parts[1]), std::string(parts[0])});
      if (it == map.end()) continue;
      if (!it->second->cluster_ip.empty()) lines.emplace_back(it->second->cluster_ip, names);
      for (const auto& a : it->second->addresses)
        if (it->second->cluster_ip.empty()) lines.emplace_back(a.ip, names);
    } else if (resolved) {
      for (const auto& ip : resolved(s->external_name)) lines.emplace_back(ip, names);
    }
  }
  return lines;
}

}  // namespace mr::services
