// What pods take of the disk, and their eviction when that is too much.
#include <sys/statvfs.h>

#include "log/log.h"
#include "node/worker.h"
#include "task/pool.h"

namespace mr::node {

namespace {

// Between two looks, unless looking itself takes long. A cluster's node looks every ten seconds; disks fill quicker.
constexpr long kDiskLookMs = 1000, kLastDiskLookMs = 30'000, kLookShare = 20;
constexpr long kEvictionGraceMs = 1000;
constexpr std::int64_t kWorthEvicting = std::int64_t{32} << 20;  // less than that relieves nothing

}  // namespace

PodFolders Worker::disk_folders() const {
  return {.containers = folder_ + "/containers",
          .logs = std::filesystem::path(log_folder("x")).parent_path().string(),
          .volumes = {volumes_.begin(), volumes_.end()}};
}

void Worker::watch_disk() {
  auto users = disk_users(*pod_, disk_folders());
  if (users.empty()) return;
  disk_timer_.start(kDiskLookMs, [weak = weak_from_this(), users = std::move(users)]() mutable {
    if (auto self = weak.lock()) task::detach(self->look_at_disk(self, std::move(users)));
  });
}

task::Task<void> Worker::look_at_disk(std::shared_ptr<Worker> self, std::vector<DiskUser> users) {
  if (over_ || unwanted() || terminal_ || !fail_reason_.empty()) co_return;
  const auto began = mono_ms();
  auto over = co_await task::run_on(task::disk_pool(), [&] { return over_limit(users); });
  if (over && *over) {
    evict(std::move(**over));
    co_return;
  }
  const auto took = static_cast<long>(mono_ms() - began);
  const auto pause = std::clamp(took * kLookShare, kDiskLookMs, kLastDiskLookMs);
  // A timer of the worker's, so that nothing waits once it is over.
  disk_timer_.start(pause, [weak = weak_from_this(), users]() mutable {
    if (auto w = weak.lock()) task::detach(w->look_at_disk(w, std::move(users)));
  });
}

void Worker::evict(std::string message) {
  if (over_ || terminal_ || unwanted() || !fail_reason_.empty() || !any_running()) return;
  event("Warning", "Evicted", message);
  fail_reason_ = "Evicted";
  fail_message_ = std::move(message);
  fail_grace_ms_ = kEvictionGraceMs;
  wake();
}

task::Task<void> relieve_disk(std::string data_folder, std::int64_t min_free,
                              std::vector<std::shared_ptr<Worker>> workers) {
  struct Found {
    std::int64_t free = 0;
    std::size_t most = 0;
    std::int64_t bytes = 0;
  };
  std::vector<std::vector<std::string>> folders;
  for (const auto& w : workers) folders.push_back(w->disk());
  auto found = co_await task::run_on(task::disk_pool(), [&]() -> Found {
    struct statvfs fs{};
    Found f;
    if (::statvfs(data_folder.c_str(), &fs) != 0) return {.free = min_free};
    f.free = static_cast<std::int64_t>(fs.f_bavail) * static_cast<std::int64_t>(fs.f_frsize);
    if (f.free >= min_free) return f;
    for (std::size_t i = 0; i < folders.size(); ++i)
      if (auto bytes = disk_use(folders[i], std::numeric_limits<std::int64_t>::max()); bytes > f.bytes) {
        f.bytes = bytes;
        f.most = i;
      }
    return f;
  });
  if (!found || found->free >= min_free) co_return;
  if (found->bytes < kWorthEvicting) {
    log::warn("the disk is nearly full, and not by pods", {{"folder", data_folder}, {"free", found->free}});
    co_return;
  }
  auto& w = *workers[found->most];
  std::string name;
  for (const auto& c : w.containers())
    if (c->kind == Kind::main && name.empty()) name = c->name;
  w.evict(
      fmt::format("The node was low on resource: ephemeral-storage. Threshold quantity: {}, available: {}Ki. Container "
                  "{} was using {}Ki, request is 0, has larger consumption of ephemeral-storage. ",
                  bytes_text(min_free), found->free / 1024, name, found->bytes / 1024));
}

}  // namespace mr::node
