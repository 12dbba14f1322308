#include "kube/usage.h"

#include <unistd.h>

#include <fstream>
#include <set>

#include "time/clock.h"

namespace mr::kube {

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kWindow = 15 * kSecond;

Object usage_of(std::int64_t nanocores, std::int64_t bytes) {
  return {{"cpu", fmt::format("{}n", nanocores)}, {"memory", fmt::format("{}Ki", bytes / 1024)}};
}

// The whole machine: processor time, and memory that is not available.
Usage machine() {
  Usage u;
  std::ifstream stat("/proc/stat");
  std::string word;
  stat >> word;
  const auto ticks = ::sysconf(_SC_CLK_TCK);
  // user nice system idle iowait irq softirq steal
  for (std::int64_t i = 0, n = 0; i < 8 && stat >> n; ++i)
    if (i != 3 && i != 4) u.cpu_ns += n * (kSecond / ticks);
  std::ifstream memory("/proc/meminfo");
  std::int64_t kib = 0;
  for (std::string key, unit; memory >> key >> kib; std::getline(memory, unit)) {
    if (key == "MemTotal:") u.memory_bytes += kib * 1024;
    if (key == "MemAvailable:") u.memory_bytes -= kib * 1024;
  }
  return u;
}

Object document(std::string_view kind, const Object& of, std::int64_t window_ns) {
  Object o = make_object("metrics.k8s.io/v1beta1", kind, namespace_of(of), name_of(of));
  auto& meta = metadata(o);
  meta["creationTimestamp"] = now_text();
  if (const auto* labels = at(of, "metadata.labels")) meta["labels"] = *labels;
  o["timestamp"] = now_text();
  o["window"] = fmt::format("{:.3f}s", static_cast<double>(window_ns) / 1e9);
  return o;
}

}  // namespace

// The machine's first window begins with the program.
Usages::Usages() { samples_["machine"] = {time::mono_ns(), machine().cpu_ns}; }

Usages::Rate Usages::rate(const std::string& key, std::int64_t cpu_ns, std::int64_t age_ns) {
  std::scoped_lock lock(mutex_);
  const auto now = time::mono_ns();
  auto [it, fresh] = samples_.try_emplace(key, Sample{now, cpu_ns});
  auto window = age_ns;
  auto used = cpu_ns;
  // Since the last look, when it is not too near; else since it began.
  if (auto& last = it->second; !fresh && now - last.at_ns >= kSecond && cpu_ns >= last.cpu_ns) {
    window = now - last.at_ns;
    used = cpu_ns - last.cpu_ns;
    if (window >= kWindow) last = {now, cpu_ns};
  }
  if (window < kSecond) return {};
  return {static_cast<std::int64_t>(static_cast<double>(used) / static_cast<double>(window) * 1e9), window};
}

task::Task<std::vector<ObjectPtr>> Usages::measure(const Api& api, Pods& pods, Target target) {
  std::vector<ObjectPtr> out;
  const bool nodes = target.kind->kind == "NodeMetrics";
  const auto wanted = [&](const Object& o) { return target.name.empty() || target.name == name_of(o); };
  if (nodes) {
    for (const auto& node : api.store().list("nodes", "").items) {
      // Other Node objects stand for no machine.
      if (!wanted(*node) || name_of(*node) != pods.node_name()) continue;
      const auto u = machine();
      const auto r = rate("machine", u.cpu_ns, 0);
      if (r.window_ns == 0) continue;
      auto o = document("NodeMetrics", *node, r.window_ns);
      o["usage"] = usage_of(r.nanocores, u.memory_bytes);
      out.push_back(std::make_shared<const Object>(std::move(o)));
    }
    co_return out;
  }
  const auto all = co_await pods.usage();
  std::set<std::string> running;
  for (const auto& [uid, containers] : all)
    for (const auto& u : containers) running.insert(uid + "/" + u.container);
  {
    std::scoped_lock lock(mutex_);
    std::erase_if(samples_, [&](const auto& s) { return s.first.contains('/') && !running.contains(s.first); });
  }
  for (const auto& pod : api.store().list("pods", target.ns).items) {
    auto used = all.find(std::string(uid_of(*pod)));
    if (used == all.end() || !wanted(*pod)) continue;
    Array containers;
    std::int64_t window = 0;
    for (const auto& u : used->second) {
      const auto r = rate(used->first + "/" + u.container, u.cpu_ns, u.age_ns);
      if (r.window_ns == 0) continue;
      window = std::max(window, r.window_ns);
      containers.push_back(Object{{"name", u.container}, {"usage", usage_of(r.nanocores, u.memory_bytes)}});
    }
    if (containers.empty()) continue;
    auto o = document("PodMetrics", *pod, window);
    o["containers"] = std::move(containers);
    out.push_back(std::make_shared<const Object>(std::move(o)));
  }
  co_return out;
}

}  // namespace mr::kube
