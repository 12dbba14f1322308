#include "serving/shared_models.h"

#include <malloc.h>
#include <sys/stat.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <utility>
#include <vector>

#include "metrics/metrics.h"

namespace mr::serving {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMaxKeyFiles = 1000;
constexpr std::int64_t kJustWrittenS = 2;
constexpr std::uint64_t kTrimFrom = 16 << 20;

metrics::Gauge engine_memory() {
  static auto gauge = metrics::gauge("millrace_model_memory_bytes", "What loaded models take in memory, about.");
  return gauge;
}

// False: it stands for nothing.
bool add_file(std::string& key, const fs::path& file, const std::string& name, std::int64_t now_s) {
  struct stat st{};
  struct stat link{};
  if (::stat(file.c_str(), &st) != 0 || ::lstat(file.c_str(), &link) != 0) return false;
  if (S_ISLNK(link.st_mode) && S_ISDIR(st.st_mode)) return false;  // what lies behind it is not looked into
  if (!S_ISREG(st.st_mode)) return S_ISDIR(st.st_mode);
  const bool read_only = (st.st_mode & 0222) == 0;
  if (!read_only && st.st_mtim.tv_sec > now_s - kJustWrittenS) return false;
  key += fmt::format("{}\n{:x} {:x} {:x} {:x}.{:x}\n", name, st.st_dev, st.st_ino, st.st_size, st.st_mtim.tv_sec,
                     st.st_mtim.tv_nsec);
  return true;
}

}  // namespace

std::string content_key(const std::string& path) {
  std::error_code ec;
  std::string key;
  const auto now_s = static_cast<std::int64_t>(std::time(nullptr));
  if (fs::is_regular_file(path, ec)) {
    // The name decides how it is read.
    return add_file(key, path, fs::path(path).filename().string(), now_s) ? key : std::string();
  }
  std::vector<fs::path> files;
  for (fs::recursive_directory_iterator it(path, ec), end; !ec && it != end; it.increment(ec)) {
    if (files.size() >= kMaxKeyFiles) return {};
    files.push_back(it->path());
  }
  if (ec || files.empty()) return {};
  std::sort(files.begin(), files.end());
  for (const auto& f : files)
    if (!add_file(key, f, f.lexically_relative(path).string(), now_s)) return {};
  return key;
}

std::uint64_t memory_by_files(const std::string& path) {
  std::error_code ec;
  std::uint64_t bytes = 64 * 1024;
  if (fs::is_regular_file(path, ec)) return bytes + 2 * fs::file_size(path, ec);
  for (fs::recursive_directory_iterator it(path, ec), end; !ec && it != end; it.increment(ec)) {
    std::error_code one;
    if (it->is_regular_file(one)) bytes += 2 * it->file_size(one);
  }
  return bytes;
}

SharedModels& SharedModels::of_process() {
  static SharedModels shared;
  return shared;
}

std::shared_ptr<SharedModels::Entry> SharedModels::entry(const std::string& key) {
  std::lock_guard guard(mutex_);
  auto& e = entries_[key];
  if (!e) e = std::make_shared<Entry>();
  auto found = e;
  if (entries_.size() >= prune_at_) {
    std::erase_if(entries_, [](const auto& x) { return x.second.use_count() == 1 && x.second->engine.expired(); });
    prune_at_ = std::max<std::size_t>(64, 2 * entries_.size());
  }
  return found;
}

Result<LoadedModel> SharedModels::load(const std::string& path, bool share,
                                       const std::function<Result<LoadedModel>()>& make) {
  auto counted = [&]() -> Result<LoadedModel> {
    MR_TRY(LoadedModel made, make());
    const auto by_files = memory_by_files(path);
    made.memory = made.engine->memory();
    if (made.memory == 0) made.memory = by_files;
    // What reading has left behind would stay with the process.
    if (by_files > kTrimFrom) ::malloc_trim(0);
    engine_memory().add(static_cast<double>(made.memory));
    const auto* raw = made.engine.get();
    made.engine = std::shared_ptr<const Engine>(raw, [own = made.engine, bytes = made.memory](const Engine*) mutable {
      own.reset();
      engine_memory().add(-static_cast<double>(bytes));
    });
    return made;
  };
  const auto key = share ? content_key(path) : std::string();
  if (key.empty()) return counted();
  static const auto shared = metrics::counter("millrace_models_shared_total",
                                              "Loads that took the engine of another model of the same files.");
  auto e = entry(key);
  std::unique_lock one(e->reading);
  if (e->remote) {  // workers may start side by side
    one.unlock();
    return counted();
  }
  if (auto engine = e->engine.lock()) {
    shared.add();
    auto out = e->rest;
    out.engine = std::move(engine);
    return out;
  }
  MR_TRY(LoadedModel made, counted());
  e->remote = made.engine->remote();
  // What changed while it was read is not known by that key.
  if (e->remote || content_key(path) != key) return made;
  e->engine = made.engine;
  e->rest = made;
  e->rest.engine.reset();
  return made;
}

}  // namespace mr::serving
