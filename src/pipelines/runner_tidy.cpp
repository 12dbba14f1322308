// What runs leave behind, and when it goes: pods, folders, logs, entries of the cache.
#include <filesystem>

#include "log/log.h"
#include "pipelines/runner_state.h"
#include "task/pool.h"
#include "text/text.h"

namespace mr::pipelines {

namespace {

constexpr std::size_t kTidyAtOnce = 500;
constexpr std::string_view kTtl = "pipelines.millrace.dev/resource-ttl";

}  // namespace

// The folders of runs that were over when the program ended, and had no time to clear them.
void Runner::Impl::clear_folders(const std::vector<std::string>& unfinished) const {
  std::error_code ec;
  for (std::filesystem::directory_iterator it(options.folder + "/steps", ec), end; !ec && it != end; it.increment(ec)) {
    std::error_code ignored;
    if (std::ranges::find(unfinished, it->path().filename().string()) == unfinished.end())
      std::filesystem::remove_all(it->path(), ignored);
  }
}

// The pods of finished steps stay for kubectl, as many as options say; the oldest go first, also those of an earlier
// start.
void Runner::Impl::tidy_pods() {
  std::vector<std::pair<std::string, kube::Key>> over;
  std::map<std::string, bool> expired;  // by run
  for (const auto& pod : pods.list()) {
    if (kube::label(*pod, "millrace.dev/pipeline-step").empty() || kube::deleting(*pod)) continue;
    auto phase = kube::text_at(*pod, "status.phase");
    auto key = kube::key_of(*pod);
    if ((phase != "Succeeded" && phase != "Failed") || waiting.contains(key)) continue;
    if (const auto ttl = kube::annotation(*pod, kTtl); !ttl.empty()) {
      std::string run(kube::label(*pod, "pipeline/runid"));
      auto known = expired.find(run);
      if (known == expired.end()) known = expired.emplace(run, is_expired(run, ttl)).first;
      if (known->second) {
        group.spawn(forget_pod(std::move(key)));
        continue;
      }
    }
    over.emplace_back(kube::text_at(*pod, "metadata.creationTimestamp"), std::move(key));
  }
  if (over.size() <= options.kept_pods) return;
  std::ranges::sort(over);
  auto surplus = std::min(over.size() - options.kept_pods, kTidyAtOnce);
  for (std::size_t i = 0; i < surplus; ++i) group.spawn(forget_pod(std::move(over[i].second)));
}

// "completion,success,failure" in seconds, 0 for none, of the run's pipeline; empty: it has no such limits. What is
// said of the outcome goes before what is said of any.
std::string Runner::Impl::resource_ttl(const Plan& plan) {
  std::string out;
  bool any = false;
  for (const auto* name : {"resourceTtlOnCompletion", "resourceTtlOnSuccess", "resourceTtlOnFailure"}) {
    std::int64_t seconds = 0;
    if (const auto* v = plan.pipeline_config.if_contains(name))
      if (auto n = text::to_i64(to_text(*v)); n && *n > 0) seconds = *n;
    any = any || seconds > 0;
    out += fmt::format("{}{}", out.empty() ? "" : ",", seconds);
  }
  return any ? out : std::string();
}

bool Runner::Impl::is_expired(const std::string& run_id, std::string_view ttl) const {
  if (live.contains(run_id)) return false;
  auto run = store.run(run_id);
  if (!run || !is_final(run->state) || run->finished_ms == 0) return false;
  auto parts = text::split(ttl, ',');
  if (parts.size() != 3) return false;
  auto seconds = text::to_i64(parts[run->state == State::succeeded ? 1 : 2]).value_or(0);
  if (seconds <= 0) seconds = text::to_i64(parts[0]).value_or(0);
  return seconds > 0 && options.now_ms() - run->finished_ms >= seconds * 1000;
}

task::Task<void> Runner::Impl::tidy_cache() {
  const auto before = options.cache_max_age_s > 0 ? options.now_ms() - options.cache_max_age_s * 1000 : 0;
  if (auto r = co_await store.cache_tidy(before, options.cache_entries); !r)
    log::warn("the cache of pipelines cannot be tidied", {{"error", r.error().message}});
}

// A run was deleted. One that still has something under way leaves its files when that has ended.
void Runner::Impl::forget(const std::string& run_id) {
  std::erase_if(recent, [&](const auto& r) { return r.first == run_id; });
  for (const auto& pod : pods.list())
    if (kube::label(*pod, "pipeline/runid") == run_id && !kube::label(*pod, "millrace.dev/pipeline-step").empty())
      group.spawn(forget_pod(kube::key_of(*pod)));
  if (auto it = live.find(run_id); it != live.end())
    it->second->deleted = true;
  else
    drop_files(run_id);
}

void Runner::Impl::drop_files(const std::string& run_id) const {
  if (run_id.empty() || run_id.contains('/') || run_id.starts_with('.')) return;
  (void)task::disk_pool().submit([folder = options.folder, run_id] {
    std::error_code ec;
    for (const auto* part : {"steps", "logs"})
      std::filesystem::remove_all(fmt::format("{}/{}/{}", folder, part, run_id), ec);
  });
}

// The logs of runs that were deleted when nobody could remove them any more.
task::Task<void> Runner::Impl::clear_logs() {
  auto self = shared_from_this();
  auto there = co_await task::run_on(task::disk_pool(), [folder = options.folder] {
    std::vector<std::string> ids;
    std::error_code ec;
    for (std::filesystem::directory_iterator it(folder + "/logs", ec), end; !ec && it != end; it.increment(ec))
      ids.push_back(it->path().filename().string());
    return ids;
  });
  if (!there || there->empty()) co_return;
  auto unknown = co_await store.unknown_runs(std::move(*there));
  if (!unknown) co_return;
  for (const auto& id : *unknown)
    if (!live.contains(id)) drop_files(id);
}

}  // namespace mr::pipelines
