// `millrace logs`.
#include "cli/client_commands.h"
#include "text/text.h"

namespace mr::cli {

namespace {

constexpr std::size_t kMostStreams = 50;  // followed at once: each is a connection and a thread

struct Stream {
  std::string pod, container;
};

// "1h30m", "90s", "500ms" as whole seconds, rounded up.
Result<std::int64_t> seconds_of(std::string_view text) {
  double total = 0;
  auto rest = text;
  while (!rest.empty()) {
    auto end = rest.find_first_not_of("0123456789.");
    auto number = text::to_double(rest.substr(0, end));
    if (end == std::string_view::npos || !number) break;
    auto unit = rest.substr(end, rest.find_first_of("0123456789.", end) - end);
    static const std::map<std::string_view, double> units{{"h", 3600}, {"m", 60}, {"s", 1}, {"ms", 0.001}};
    auto u = units.find(unit);
    if (u == units.end()) break;
    total += *number * u->second;
    rest.remove_prefix(end + unit.size());
  }
  if (!rest.empty() || text.empty() || total <= 0 || total > 1e9)
    return fail(Code::invalid_argument, fmt::format("--since {}: expected a time like 30s, 5m, 2h or 1h30m", text));
  return static_cast<std::int64_t>(std::ceil(total));
}

std::vector<std::string> names_at(const kube::Object& pod, std::string_view path) {
  std::vector<std::string> out;
  for (const auto& c : kube::array_at(pod, path))
    if (c.is_object()) out.emplace_back(kube::text_at(c.get_object(), "name"));
  return out;
}

std::vector<Stream> streams_of(const kube::Object& pod, const ClientSettings& k, bool tell) {
  std::string name(kube::name_of(pod));
  if (!k.container.empty()) return {{name, k.container}};
  auto containers = names_at(pod, "spec.containers");
  if (k.all_containers) {
    std::vector<Stream> out;
    for (auto& c : names_at(pod, "spec.initContainers")) out.push_back({name, c});
    for (auto& c : containers) out.push_back({name, c});
    return out;
  }
  if (containers.empty()) return {{name, {}}};
  auto chosen = containers[0];
  auto wanted = kube::annotation(pod, "kubectl.kubernetes.io/default-container");
  if (std::ranges::find(containers, wanted) != containers.end()) {
    chosen = wanted;
  } else if (tell && containers.size() > 1) {
    fmt::print(stderr, "Defaulted container \"{}\" out of: {}\n", chosen, fmt::join(containers, ", "));
  }
  return {{name, chosen}};
}

Result<std::vector<Stream>> find_streams(Api& api, const ClientSettings& k) {
  const Resource pods{.version = "v1", .plural = "pods", .singular = "pod", .kind = "Pod", .namespaced = true};
  std::vector<Stream> out;
  if (!k.selector.empty()) {
    auto path = pods.path(api.ns());
    add_query(path, "labelSelector", k.selector);
    MR_TRY(auto found, api.list(path));
    for (const auto& p : found)
      for (auto& s : streams_of(p, k, false)) out.push_back(std::move(s));
    if (out.empty()) fmt::print(stderr, "No resources found in {} namespace.\n", api.ns());
    return out;
  }
  const auto& what = k.args[0];
  auto slash = what.find('/');
  if (slash == std::string::npos) {
    MR_TRY(auto pod, api.json({.path = pods.path(api.ns(), what)}));
    return streams_of(pod, k, true);
  }
  MR_TRY(auto targets, targets_of(api, {what}));
  const auto& t = targets[0];
  MR_TRY(auto object, api.json({.path = t.resource.path(api.ns(), t.name)}));
  if (t.resource.group.empty() && t.resource.plural == "pods") return streams_of(object, k, true);
  MR_TRY(auto selector, selector_of(object));
  auto path = pods.path(api.ns());
  add_query(path, "labelSelector", selector);
  MR_TRY(auto found, api.list(path));
  if (found.empty())
    return fail(Code::not_found, fmt::format("{} has no pods (yet); see `millrace describe {}`", what, what));
  // One of them: running before others, then the youngest.
  auto rank = [](const kube::Object& p) {
    return std::pair(kube::text_at(p, "status.phase") == "Running", kube::text_at(p, "metadata.creationTimestamp"));
  };
  auto best = std::ranges::max_element(found, {}, rank);
  if (found.size() > 1 && !k.all_containers)
    fmt::print(stderr, "Found {} pods, using pod/{}\n", found.size(), kube::name_of(*best));
  return streams_of(*best, k, true);
}

std::string path_of(const Api& api, const ClientSettings& k, const Stream& s, std::int64_t since) {
  const Resource pods{.version = "v1", .plural = "pods", .namespaced = true};
  auto path = pods.path(api.ns(), s.pod) + "/log";
  add_query(path, "container", s.container);
  if (k.follow) add_query(path, "follow", "true");
  if (k.previous) add_query(path, "previous", "true");
  if (k.timestamps) add_query(path, "timestamps", "true");
  if (since > 0) add_query(path, "sinceSeconds", std::to_string(since));
  auto tail = k.tail == -2 && !k.selector.empty() ? 10 : k.tail;
  if (tail >= 0) add_query(path, "tailLines", std::to_string(tail));
  return path;
}

// Prints one stream; by whole lines, so that several may share the terminal.
Result<> show(Api& api, const ClientSettings& k, const Stream& s, std::int64_t since, std::mutex& printing) {
  auto prefix = k.prefix ? fmt::format("[pod/{}/{}] ", s.pod, s.container) : std::string();
  std::string held;
  bool closed = false;
  auto emit = [&](std::string_view lines) {
    std::string out;
    if (prefix.empty()) {
      out = lines;
    } else {
      for (std::size_t at = 0; at < lines.size();) {
        auto end = std::min(lines.find('\n', at), lines.size() - 1) + 1;
        out += prefix;
        out += lines.substr(at, end - at);
        at = end;
      }
    }
    std::lock_guard lock(printing);
    closed = closed || !put(out);
  };
  auto answer = api.send(
      {.path = path_of(api, k, s, since), .accept = "*/*", .endless = k.follow, .sink = [&](std::string_view piece) {
         held += piece;
         // A line without an end is not held back for ever.
         auto end = held.rfind('\n');
         if (end == std::string::npos && held.size() < 64 * 1024) return !closed;
         auto take = end == std::string::npos ? held.size() : end + 1;
         emit(std::string_view(held).substr(0, take));
         held.erase(0, take);
         return !closed;
       }});
  if (!held.empty()) emit(prefix.empty() ? held : held + "\n");
  if (closed || answer) return {};
  return std::unexpected(answer.error());
}

}  // namespace

int client_logs(Api& api, const ClientSettings& given) {
  auto k = given;
  if (k.args.size() == 2 && k.container.empty()) {  // POD CONTAINER
    k.container = k.args[1];
    k.args.pop_back();
  }
  if (k.args.size() > 1 || k.args.empty() == k.selector.empty())
    return complain({Code::invalid_argument,
                     "say whose logs: one POD, one KIND/NAME, or -l LABELS (millrace logs --help)",
                     {},
                     {}});
  std::int64_t since = 0;
  if (!k.since.empty()) {
    auto s = seconds_of(k.since);
    if (!s) return complain(s.error());
    since = *s;
  }
  auto streams = find_streams(api, k);
  if (!streams) return complain(streams.error());
  std::mutex printing;
  std::atomic<int> code = 0;
  auto run = [&](Api& own, const Stream& s) {
    if (auto r = show(own, k, s, since, printing); !r) {
      std::lock_guard lock(printing);
      code = complain(r.error());
    }
  };
  if (!k.follow || streams->size() == 1) {
    for (const auto& s : *streams) run(api, s);
    return code;
  }
  if (streams->size() > kMostStreams)
    return complain(
        {Code::invalid_argument,
         fmt::format("{} logs cannot be followed at once, {} can; narrow the selector", streams->size(), kMostStreams),
         {},
         {}});
  std::vector<std::jthread> threads;
  for (const auto& s : *streams) threads.emplace_back([&, own = api.clone()]() mutable { run(own, s); });
  threads.clear();
  return code;
}

}  // namespace mr::cli
