// Server-sent events: the streams look at their topics a few times a second, through the same APIs as everyone, and say
// which one changed. Pages then ask for what they show.
#include <atomic>

#include "dashboard/inside.h"
#include "text/text.h"
#include "text/uri.h"
#include "time/clock.h"

namespace mr::dashboard {

namespace {
constexpr long kLookMs = 700;
constexpr long kLongestMs = 10'000;
constexpr int kHeartbeatLooks = 20;  // a comment now and then, so that a gone client is noticed

std::uint64_t mix(std::uint64_t h, std::string_view s) {
  for (unsigned char c : s) h = (h ^ c) * 0x100000001b3ULL;
  return h;
}
}  // namespace

namespace {
struct Topic {
  std::string name;
  std::uint64_t last = 0;  // what it was when it was looked at
  std::string revision;    // of the Kubernetes API then
};
}  // namespace

struct Live::Impl {
  const DashboardDeps& deps;
  std::shared_ptr<const std::atomic<std::uint64_t>> changes;
  std::atomic<bool> stopped{false};

  // A number that changes with what the topic names; 0: it cannot be read now.
  task::Task<std::uint64_t> look(Topic& t) const {
    const auto& topic = t.name;
    if (topic == "tracking") co_return changes->load(std::memory_order_relaxed) + 1;
    Result<std::string> text;
    if (topic == "pipelines") {
      text = co_await ask_text(deps.pipelines, "/apis/v2beta1/runs?page_size=30&sort_by=created_at%20desc");
    } else if (topic.starts_with("run:")) {
      text = co_await ask_text(deps.pipelines,
                               fmt::format("/apis/v2beta1/runs/{}/tasks", text::percent_encode(topic.substr(4))));
    } else if (topic.starts_with("kube:")) {
      auto p = text::split(std::string_view(topic).substr(5), '/');
      if (p.size() != 3) co_return 0;
      for (auto one : p)
        if (text::percent_encode(one) != one) co_return 0;
      auto list = co_await ask(
          deps.kube,
          p[0].empty() ? fmt::format("/api/{}/{}", p[1], p[2]) : fmt::format("/apis/{}/{}/{}", p[0], p[1], p[2]), {},
          &viewer());
      if (!list) co_return 0;
      std::uint64_t h = 0xcbf29ce484222325ULL;
      for (const auto& item : list_of(*list, "items"))
        h = mix(mix(h, text_of(item, "metadata.uid")), text_of(item, "metadata.resourceVersion"));
      co_return h;
    } else {
      co_return 0;
    }
    co_return text ? mix(0xcbf29ce484222325ULL, *text) : 0;
  }
};

Live::Live(const DashboardDeps& deps, std::shared_ptr<const std::atomic<std::uint64_t>> changes)
    : impl_(new Impl{.deps = deps, .changes = std::move(changes)}) {}
void Live::stop() { impl_->stopped.store(true); }

http::Response Live::stream(const http::Request& rq, std::vector<std::string> topics) const {
  auto res = http::Response::text(200, "", "text/event-stream");
  res.headers.add("Cache-Control", "no-store");
  struct State {
    std::shared_ptr<Impl> live;
    std::vector<Topic> topics;
    std::shared_ptr<std::atomic<bool>> gone;
    bool first = true;
    int quiet = 0;
    long wait_ms = kLookMs;
  };
  auto s = std::make_shared<State>();
  s->live = impl_;
  if (rq.gone != nullptr) s->gone = *rq.gone;
  for (auto& t : topics) s->topics.push_back({std::move(t), 0, {}});
  res.body = http::StreamBody([s]() -> task::Task<Result<std::string>> {
    auto over = [&] { return s->live->stopped.load() || (s->gone && s->gone->load()); };
    while (!over()) {
      std::string out;
      if (!s->first)
        for (long left = s->wait_ms; left > 0 && !over(); left -= kLookMs)
          co_await task::sleep_ms(std::min(left, kLookMs));
      if (over()) break;
      const auto began = time::mono_ns();
      for (auto& t : s->topics) {
        auto now = co_await s->live->look(t);
        if (now == 0 || now == t.last) continue;
        if (t.last != 0) out += fmt::format("event: changed\ndata: {}\n\n", t.name);
        t.last = now;
      }
      // Long lists are looked at less often: a tenth of the time at most goes into it.
      s->wait_ms = std::clamp(static_cast<long>((time::mono_ns() - began) / 100'000), kLookMs, kLongestMs);
      if (std::exchange(s->first, false)) out += "retry: 2000\nevent: ready\ndata: \n\n";
      if (out.empty() && ++s->quiet < kHeartbeatLooks) continue;
      if (out.empty()) out = ": still here\n\n";
      s->quiet = 0;
      co_return out;
    }
    co_return std::string();
  });
  return res;
}

}  // namespace mr::dashboard
