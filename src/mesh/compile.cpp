#include <tuple>

#include "mesh/host.h"
#include "mesh/read.h"
#include "mesh/route_table.h"
#include "mesh/text_match.h"
#include "text/text.h"

namespace mr::mesh {

namespace {

constexpr std::size_t kMaxRoutes = 5000;  // of one object
constexpr std::size_t kMaxConditions = 500;

struct Id {
  std::string ns, name, created;
};
Id id_of(const kube::Object& o) {
  Id id;
  if (const auto* m = o.if_contains("metadata"))
    if (const auto* meta = m->if_object()) {
      auto get = [&](std::string_view key) {
        const auto* v = meta->if_contains(key);
        const auto* s = v != nullptr ? v->if_string() : nullptr;
        return s != nullptr ? std::string(*s) : std::string();
      };
      id = {get("namespace"), get("name"), get("creationTimestamp")};
    }
  return id;
}
Node spec_of(const kube::Object& o) { return {o.if_contains("spec"), "spec"}; }

// The front door stands for the ingress gateway's workload: Gateways that select it are served here.
bool selects_front_door(Reader& r, const Node& spec) {
  auto selector = r.pairs(spec.at("selector"));
  return std::ranges::all_of(selector, [](const auto& kv) {
    return (kv.first == "istio" && kv.second == "ingressgateway") ||
           (kv.first == "app" && kv.second == "istio-ingressgateway");
  });
}

struct Door {
  std::vector<std::pair<std::string, std::string>> hosts;  // namespace it admits ("*": any), host pattern
  std::set<std::int64_t> ports;
  bool served = false;
};

struct Compiler {
  Compiled out;
  std::shared_ptr<RouteTable> table = std::make_shared<RouteTable>();
  std::map<std::string, Door> doors;                  // by "NS/NAME"
  std::map<std::string, const kube::Object*> by_key;  // VirtualServices, for delegates

  void notice(std::string_view kind, const Id& id, bool fatal, std::string message) {
    out.notices.push_back({std::string(kind), id.ns, id.name, fatal, std::move(message)});
  }

  void gateway(const kube::Object& o) {
    Id id = id_of(o);
    Reader r;
    Node spec = spec_of(o);
    Door door;
    door.served = selects_front_door(r, spec);
    for (const auto& s : spec.at("servers").items()) {
      auto protocol = text::upper(r.text(s.at("port").at("protocol"), "HTTP"));
      auto port = r.number(s.at("port").at("number"), 80, 1, 65535);
      if (protocol == "TCP" || protocol == "TLS" || protocol == "MONGO") continue;
      door.ports.insert(port);
      for (const auto& h : s.at("hosts").items()) {
        auto host = text::lower(r.text(h));
        std::string ns = "*";
        if (auto slash = host.find('/'); slash != std::string::npos) {
          ns = host.substr(0, slash);
          host.erase(0, slash + 1);
          if (ns == ".") ns = id.ns;
        }
        if (!valid_host_pattern(host)) r.fault(h, fmt::format("\"{}\" is no host", host));
        door.hosts.emplace_back(ns, host);
      }
    }
    if (!r.ok()) return notice("Gateway", id, true, r.first_fault());
    doors[id.ns + "/" + id.name] = std::move(door);
  }

  void destination_rule(const kube::Object& o) {
    Id id = id_of(o);
    Reader r;
    Node spec = spec_of(o);
    auto host = r.text(spec.at("host"));
    auto service = service_of_host(host, id.ns);
    DestinationPolicy p;
    p.policy = traffic_policy(r, spec.at("trafficPolicy"));
    for (const auto& s : spec.at("subsets").items()) {
      auto name = r.text(s.at("name"));
      if (name.empty()) r.fault(s.at("name"), "is required");
      Node own = s.at("trafficPolicy");
      p.subsets[name] = {r.pairs(s.at("labels")), own.present() ? traffic_policy(r, own) : p.policy};
    }
    if (!r.ok()) return notice("DestinationRule", id, true, r.first_fault());
    if (!service) {
      if (!host.starts_with('*'))
        notice("DestinationRule", id, false, fmt::format("spec.host: \"{}\" names no Service", host));
      return;
    }
    // The rule in the Service's own namespace stands before one from elsewhere; then the older one.
    auto key = service->ns + "/" + service->name;
    if (table->policies_.contains(key))
      return notice("DestinationRule", id, false, fmt::format("spec.host: another rule for \"{}\" comes first", host));
    table->policies_.emplace(std::move(key), std::move(p));
  }
  static TrafficPolicy traffic_policy(Reader& r, const Node& n) {
    TrafficPolicy p;
    auto simple = r.text(n.at("loadBalancer").at("simple"));
    if (simple == "ROUND_ROBIN")
      p.balance = Balance::round_robin;
    else if (simple == "RANDOM")
      p.balance = Balance::random;
    else if (!simple.empty() && simple != "LEAST_REQUEST" && simple != "LEAST_CONN" && simple != "UNSPECIFIED" &&
             simple != "PASSTHROUGH")
      r.fault(n.at("loadBalancer").at("simple"), fmt::format("\"{}\" is no load balancer", simple));
    Node tcp = n.at("connectionPool").at("tcp");
    if (auto ms = r.duration_ms(tcp.at("connectTimeout")); ms > 0) p.connect_timeout_ms = ms;
    p.max_connections = static_cast<std::uint32_t>(r.number(tcp.at("maxConnections"), 0, 0, INT32_MAX));
    return p;
  }

  Destination destination(Reader& r, const Node& n, const Id& id) {
    Destination d;
    auto host = r.text(n.at("host"));
    if (host.empty()) r.fault(n.at("host"), "is required");
    if (host.starts_with('*')) r.fault(n.at("host"), "must name one host");
    if (auto s = service_of_host(host, id.ns)) {
      d.ns = s->ns;
      d.service = s->name;
    }
    d.subset = r.text(n.at("subset"));
    d.port = static_cast<std::uint16_t>(r.number(n.at("port").at("number"), 0, 1, 65535));
    return d;
  }

  // nullopt: the condition is for other gateways, or for clients inside the mesh.
  std::optional<Condition> condition(Reader& r, const Node& n, const Id& id, const std::vector<std::string>& doors_of) {
    Condition c;
    bool fold =
        n.at("ignoreUriCase").present() && n.at("ignoreUriCase").v->is_bool() && n.at("ignoreUriCase").v->get_bool();
    auto opt = [&](std::string_view key, std::optional<TextMatch>& to, bool f) {
      if (n.at(key).present()) to = r.match(n.at(key), f);
    };
    opt("uri", c.uri, fold);
    opt("scheme", c.scheme, false);
    opt("method", c.method, false);
    opt("authority", c.authority, false);
    auto named = [&](std::string_view key, std::vector<NamedMatch>& to, bool lower) {
      for (const auto& [name, value] : n.at(key).members())
        to.emplace_back(lower ? text::lower(name) : name, r.match(value));
    };
    named("headers", c.headers, true);
    named("withoutHeaders", c.without_headers, true);
    named("queryParams", c.query, false);
    if (Node p = n.at("port"); p.present()) {
      auto port = r.number(p, 0, 1, 65535);
      bool any = std::ranges::any_of(doors_of, [&](const auto& d) { return doors.at(d).ports.contains(port); });
      if (!any) return std::nullopt;
    }
    if (Node g = n.at("gateways"); g.present()) {
      auto wanted = gateway_names(r, g, id);
      bool any =
          std::ranges::any_of(wanted, [&](const auto& w) { return std::ranges::find(doors_of, w) != doors_of.end(); });
      if (!any) return std::nullopt;
    }
    for (const auto& [k, v] : r.pairs(n.at("sourceLabels")))
      if (!((k == "istio" && v == "ingressgateway") || (k == "app" && v == "istio-ingressgateway")))
        return std::nullopt;
    if (auto ns = r.text(n.at("sourceNamespace")); !ns.empty() && ns != "istio-system") return std::nullopt;
    return c;
  }
  static std::vector<std::string> gateway_names(Reader& r, const Node& n, const Id& id) {
    std::vector<std::string> all;
    for (auto& g : r.texts(n)) {
      if (g == "mesh" || g.find('/') != std::string::npos) {
        all.push_back(g);
        continue;
      }
      auto host = service_of_host(g, id.ns);  // the old way: NAME.NS.svc.cluster.local
      all.push_back(host ? host->ns + "/" + host->name : g);
    }
    return all;
  }

  std::vector<HttpRoute> http(Reader& r, const Node& list, const Id& id, const std::vector<std::string>& doors_of,
                              int depth) {
    std::vector<HttpRoute> all;
    auto items = list.items();
    if (items.size() > kMaxRoutes) r.fault(list, fmt::format("more than {} routes", kMaxRoutes));
    for (const auto& n : items) {
      HttpRoute h;
      h.name = r.text(n.at("name"));
      auto matches = n.at("match").items();
      if (matches.size() > kMaxConditions)
        r.fault(n.at("match"), fmt::format("more than {} conditions", kMaxConditions));
      bool elsewhere = !matches.empty();
      for (const auto& m : matches) {
        auto c = condition(r, m, id, doors_of);
        if (!c) continue;
        h.conditions.push_back(std::move(*c));
        elsewhere = false;
      }
      if (!r.ok()) return all;
      action(r, n, id, h);
      if (Node d = n.at("delegate"); d.present()) delegate(r, d, id, doors_of, depth, h);
      if (!r.ok()) return all;
      if (!elsewhere) all.push_back(std::move(h));
    }
    return all;
  }

  void delegate(Reader& r, const Node& n, const Id& id, const std::vector<std::string>& doors_of, int depth,
                HttpRoute& h) {
    if (depth > 0) return r.fault(n, "a delegate may not delegate");
    auto name = r.text(n.at("name"));
    auto ns = r.text(n.at("namespace"), id.ns);
    auto it = by_key.find(ns + "/" + name);
    if (it == by_key.end()) return r.fault(n, fmt::format("VirtualService {}/{} does not exist", ns, name));
    Node spec = spec_of(*it->second);
    if (spec.at("hosts").present())
      return r.fault(n, fmt::format("VirtualService {}/{} has hosts of its own", ns, name));
    h.delegated = http(r, spec.at("http"), id_of(*it->second), doors_of, depth + 1);
    if (h.delegated.empty()) r.fault(n, fmt::format("VirtualService {}/{} has no routes", ns, name));
  }

  void action(Reader& r, const Node& n, const Id& id, HttpRoute& h) {
    auto routes = n.at("route").items();
    for (const auto& w : routes) {
      Weighted d;
      d.to = destination(r, w.at("destination"), id);
      d.weight = static_cast<std::uint32_t>(r.number(w.at("weight"), 0, 0, 1'000'000));
      d.request = r.header_ops(w.at("headers").at("request"));
      d.response = r.header_ops(w.at("headers").at("response"));
      h.to.push_back(std::move(d));
    }
    if (h.to.size() == 1 && h.to[0].weight == 0) h.to[0].weight = 100;
    std::uint64_t total = 0;
    for (const auto& w : h.to) total += w.weight;
    if (!h.to.empty() && total == 0) r.fault(n.at("route"), "the weights sum to 0");
    h.request = r.header_ops(n.at("headers").at("request"));
    h.response = r.header_ops(n.at("headers").at("response"));
    h.timeout_ms = r.duration_ms(n.at("timeout"));
    if (Node w = n.at("rewrite"); w.present()) rewrite(r, w, h);
    if (Node d = n.at("redirect"); d.present()) redirect(r, d, h);
    if (Node d = n.at("directResponse"); d.present()) {
      DirectResponse a;
      a.status = static_cast<int>(r.number(d.at("status"), 0, 200, 599));
      if (a.status == 0) r.fault(d.at("status"), "is required");
      a.body = r.text(d.at("body").at("string"));
      if (a.body.empty()) a.body = r.text(d.at("body").at("bytes"));
      h.direct = std::move(a);
    }
    if (Node t = n.at("retries"); t.present()) {
      Retries x;
      x.attempts = static_cast<int>(r.number(t.at("attempts"), 2, 0, 20));
      x.per_try_ms = r.duration_ms(t.at("perTryTimeout"));
      auto on = r.text(t.at("retryOn"), "connect-failure,refused-stream,unavailable,cancelled,503");
      for (auto p : text::split(on, ',')) x.on.emplace_back(text::trim(p));
      h.retries = std::move(x);
    }
    if (Node f = n.at("fault"); f.present()) {
      Fault x;
      if (Node d = f.at("delay"); d.present()) {
        x.delay_percent = r.percent(d.at("percentage"), 100);
        x.delay_ms = r.duration_ms(d.at("fixedDelay"));
      }
      if (Node a = f.at("abort"); a.present()) {
        x.abort_percent = r.percent(a.at("percentage"), 100);
        x.abort_status = static_cast<int>(r.number(a.at("httpStatus"), 0, 200, 599));
        if (x.abort_status == 0) x.abort_status = a.at("grpcStatus").present() ? 200 : 0;
        if (x.abort_status == 0) r.fault(a, "needs httpStatus or grpcStatus");
      }
      h.fault = x;
    }
    if (Node m = n.at("mirror"); m.present())
      h.mirrors.push_back({destination(r, m, id), r.percent(n.at("mirrorPercentage"), 100)});
    for (const auto& m : n.at("mirrors").items())
      h.mirrors.push_back({destination(r, m.at("destination"), id), r.percent(m.at("percentage"), 100)});
    if (Node c = n.at("corsPolicy"); c.present()) cors(r, c, h);
    int actions =
        (h.to.empty() ? 0 : 1) + (h.redirect ? 1 : 0) + (h.direct ? 1 : 0) + (n.at("delegate").present() ? 1 : 0);
    if (actions == 0) r.fault(n, "one of route, redirect, directResponse or delegate must be set");
    if (actions > 1) r.fault(n, "only one of route, redirect, directResponse and delegate may be set");
  }

  static void rewrite(Reader& r, const Node& w, HttpRoute& h) {
    Rewrite x;
    if (Node u = w.at("uri"); u.present()) x.uri = r.text(u);
    x.authority = r.text(w.at("authority"));
    if (Node g = w.at("uriRegexRewrite"); g.present()) {
      auto p = compile_pattern(r.text(g.at("match")));
      x.substitution = r.text(g.at("rewrite"));
      if (!p)
        r.fault(g.at("match"), p.error().message);
      else if (auto ok = check_substitution(**p, x.substitution); !ok)
        r.fault(g.at("rewrite"), ok.error().message);
      else
        x.pattern = *p;
      if (x.uri) r.fault(w, "only one of uri and uriRegexRewrite may be set");
    }
    h.rewrite = std::move(x);
  }
  static void redirect(Reader& r, const Node& d, HttpRoute& h) {
    Redirect x;
    x.code = static_cast<int>(r.number(d.at("redirectCode"), 301, 300, 399));
    if (x.code != 301 && x.code != 302 && x.code != 303 && x.code != 307 && x.code != 308)
      r.fault(d.at("redirectCode"), "must be 301, 302, 303, 307 or 308");
    if (Node u = d.at("uri"); u.present()) x.uri = r.text(u);
    x.authority = r.text(d.at("authority"));
    x.scheme = r.text(d.at("scheme"));
    if (Node p = d.at("port"); p.present()) x.port = static_cast<std::uint16_t>(r.number(p, 0, 1, 65535));
    h.redirect = std::move(x);
  }
  static void cors(Reader& r, const Node& c, HttpRoute& h) {
    Cors x;
    for (const auto& o : c.at("allowOrigins").items()) x.origins.push_back(r.match(o));
    for (auto& o : r.texts(c.at("allowOrigin"))) {
      TextMatch m;
      m.kind = o == "*" ? TextMatch::Kind::present : TextMatch::Kind::exact;
      m.text = o;
      x.origins.push_back(std::move(m));
    }
    auto join = [&](std::string_view key) { return fmt::format("{}", fmt::join(r.texts(c.at(key)), ",")); };
    x.methods = join("allowMethods");
    x.headers = join("allowHeaders");
    x.expose = join("exposeHeaders");
    if (Node a = c.at("maxAge"); a.present()) x.max_age_s = std::to_string(r.duration_ms(a) / 1000);
    if (Node a = c.at("allowCredentials"); a.present() && a.v->is_bool()) x.credentials = a.v->get_bool();
    h.cors = std::move(x);
  }

  void virtual_service(const kube::Object& o) {
    Id id = id_of(o);
    Reader r;
    Node spec = spec_of(o);
    auto hosts = r.texts(spec.at("hosts"));
    if (hosts.empty()) return;  // a delegate: used where it is named
    Node g = spec.at("gateways");
    auto gateways = g.present() ? gateway_names(r, g, id) : std::vector<std::string>{"mesh"};
    std::vector<std::string> served;
    for (const auto& name : gateways) {
      if (name == "mesh") continue;
      auto it = doors.find(name);
      if (it == doors.end())
        notice("VirtualService", id, false, fmt::format("spec.gateways: Gateway {} does not exist", name));
      else if (it->second.served)
        served.push_back(name);
    }
    for (std::size_t i = 0; i < hosts.size(); ++i)
      if (!valid_host_pattern(hosts[i]))
        r.fault(Node{nullptr, fmt::format("spec.hosts[{}]", i)}, fmt::format("\"{}\" is no host", hosts[i]));
    RouteTable::Rule rule{http(r, spec.at("http"), id, served, 0)};
    if (!r.ok()) return notice("VirtualService", id, true, r.first_fault());
    if (served.empty() || rule.routes.empty()) return;

    std::set<std::string> names;
    for (const auto& h : hosts) {
      auto host = full_host(h, id.ns);
      for (const auto& s : served) {
        for (const auto& [ns, pattern] : doors.at(s).hosts) {
          if (ns != "*" && ns != id.ns) continue;
          if (host_covers(pattern, host))
            names.insert(host);
          else if (host_covers(host, pattern))
            names.insert(pattern);
        }
      }
    }
    if (names.empty()) return notice("VirtualService", id, false, "spec.hosts: none of its Gateways has these hosts");
    auto index = table->rules_.size();
    table->rules_.push_back(std::move(rule));
    for (const auto& n : names) {
      auto& domain = n == "*" ? table->all_ : n.starts_with("*.") ? table->suffix_[n.substr(1)] : table->exact_[n];
      domain.rules.push_back(index);
    }
  }
};

// Oldest first, then by name: the same objects always give the same table.
std::vector<const kube::Object*> in_order(const std::vector<kube::ObjectPtr>& list) {
  std::vector<std::pair<Id, const kube::Object*>> all;
  for (const auto& o : list)
    if (o) all.emplace_back(id_of(*o), o.get());
  std::ranges::sort(all, [](const auto& a, const auto& b) {
    return std::tie(a.first.created, a.first.ns, a.first.name) < std::tie(b.first.created, b.first.ns, b.first.name);
  });
  std::vector<const kube::Object*> out;
  for (const auto& [id, o] : all) out.push_back(o);
  return out;
}

}  // namespace

Compiled compile(const Inputs& in) {
  Compiler c;
  for (const auto* o : in_order(in.gateways)) c.gateway(*o);
  // A rule beside the Service that it speaks of before one from another namespace.
  auto rules = in_order(in.destination_rules);
  for (bool beside : {true, false}) {
    for (const auto* o : rules) {
      auto id = id_of(*o);
      Reader r;
      auto s = service_of_host(r.text(spec_of(*o).at("host")), id.ns);
      if ((s && s->ns == id.ns) == beside) c.destination_rule(*o);
    }
  }
  auto services = in_order(in.virtual_services);
  for (const auto* o : services) {
    auto id = id_of(*o);
    c.by_key[id.ns + "/" + id.name] = o;
  }
  for (const auto* o : services) c.virtual_service(*o);
  c.out.table = std::move(c.table);
  return std::move(c.out);
}

}  // namespace mr::mesh
