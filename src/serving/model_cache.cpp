#include "serving/model_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <shared_mutex>
#include <thread>
#include <vector>

#include "core/durable_file.h"
#include "crypto/digest.h"
#include "crypto/random.h"
#include "log/log.h"
#include "metrics/metrics.h"
#include "text/text.h"
#include "text/uri.h"

namespace mr::serving {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMaxCachedFiles = 10'000;
constexpr auto kLookAgain = std::chrono::milliseconds(50);
constexpr auto kForgotten = std::chrono::hours(24);  // what a program that died has left in tmp/

struct CacheMetrics {
  metrics::Counter hits = metrics::counter("millrace_model_cache_hits_total", "Models that were on this machine.");
  metrics::Counter misses = metrics::counter("millrace_model_cache_misses_total", "Models that were fetched.");
  metrics::Counter evicted = metrics::counter("millrace_model_cache_evictions_total", "Models removed for others.");
  metrics::Gauge bytes = metrics::gauge("millrace_model_cache_bytes", "Files of the model cache.");
};
const CacheMetrics& cache_metrics() {
  static const CacheMetrics m;
  return m;
}

struct CacheFolders {
  std::shared_mutex mutex;
  std::set<std::string> all;
};
CacheFolders& cache_folders() {
  static CacheFolders f;
  return f;
}

std::string hex_digest(std::string_view bytes) { return text::hex(crypto::digest(crypto::Algorithm::sha256, bytes)); }

bool is_digest(std::string_view s) {
  return s.size() == 64 && s.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

Result<std::string> file_digest(const fs::path& file) {
  Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return fail_errno(fmt::format("{} cannot be read", file.string()), errno);
  crypto::Hash hash(crypto::Algorithm::sha256);
  std::vector<char> buffer(1 << 20);
  for (;;) {
    auto n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0) return fail_errno(fmt::format("{} cannot be read", file.string()), errno);
    if (n == 0) break;
    hash.update({buffer.data(), static_cast<std::size_t>(n)});
  }
  return text::hex(hash.finish());
}

struct ListedFile {
  std::string digest;
  std::string path;  // below the tree
};

std::string list_text(const std::vector<ListedFile>& files) {
  std::string out;
  for (const auto& f : files) out += fmt::format("{} {}\n", f.digest, f.path);
  return out;
}

std::string small_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<ListedFile> read_list(std::string_view list) {
  std::vector<ListedFile> out;
  for (auto line : text::split(list, '\n'))
    if (line.size() > 65 && is_digest(line.substr(0, 64)))
      out.push_back({std::string(line.substr(0, 64)), std::string(line.substr(65))});
  return out;
}

// Writes a small file under another name and renames it.
bool put_file(const std::string& path, std::string_view bytes) {
  auto file = DurableFile::create(path + "." + crypto::random_hex(8));
  return file && file->append(bytes) && file->commit(path);
}

Fd locked(const std::string& path, int how) {
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  while (fd && ::flock(fd.get(), how) != 0) {
    if (errno == EINTR) continue;
    return {};
  }
  return fd;
}

}  // namespace

CachedModel::~CachedModel() {
  std::error_code ec;
  if (!temporary_.empty()) fs::remove_all(temporary_, ec);
}

bool in_model_cache(const std::string& path) {
  auto& f = cache_folders();
  std::shared_lock guard(f.mutex);
  return std::any_of(f.all.begin(), f.all.end(), [&](const auto& folder) { return path.starts_with(folder); });
}

std::string ModelCache::at(std::string_view kind, std::string_view name) const {
  return fmt::format("{}/{}/{}", folder_, kind, name);
}

Result<std::shared_ptr<ModelCache>> ModelCache::open(const std::string& folder, std::uint64_t limit) {
  MR_CHECK(make_folders(folder));
  std::error_code ec;
  auto root = fs::canonical(folder, ec).string();
  if (ec) return fail(Code::internal, fmt::format("{}: {}", folder, ec.message()));
  for (const char* kind : {"blobs", "trees", "refs", "uses", "fetching", "tmp"})
    if (fs::create_directories(root + "/" + kind, ec); ec)
      return fail(Code::internal, fmt::format("{}/{}: {}", root, kind, ec.message()));
  for (fs::directory_iterator it(root + "/tmp", ec), end; !ec && it != end; it.increment(ec)) {
    std::error_code one;
    auto when = fs::last_write_time(it->path(), one);
    if (!one && fs::file_time_type::clock::now() - when > kForgotten) fs::remove_all(it->path(), one);
  }
  {
    std::unique_lock guard(cache_folders().mutex);
    cache_folders().all.insert(root + "/trees/");
  }
  return std::shared_ptr<ModelCache>(new ModelCache(root, limit));
}

Result<std::shared_ptr<CachedModel>> ModelCache::get(const Source& source, const std::atomic<bool>& stop) {
  auto state = limit_ != 0 && source.state ? source.state() : std::string();
  if (state.empty()) return fetched(source, {}, {});
  const auto ref = hex_digest(state);
  // One fetches; the others find what it has put here.
  Fd turn;
  const auto lock_file = at("fetching", ref);
  for (;;) {
    turn = Fd(::open(lock_file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!turn) return fail_errno(fmt::format("the model cache cannot be written: {}", lock_file), errno);
    if (::flock(turn.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK && errno != EINTR)
        return fail_errno(fmt::format("the model cache cannot be locked: {}", lock_file), errno);
      turn = {};
    }
    struct stat mine{}, there{};
    if (turn && ::fstat(turn.get(), &mine) == 0 && ::stat(lock_file.c_str(), &there) == 0 &&
        mine.st_ino == there.st_ino)
      break;
    if (stop) return fail(Code::cancelled, "the download was stopped");
    std::this_thread::sleep_for(kLookAgain);
  }
  std::string tree;
  auto found = [&]() -> std::shared_ptr<CachedModel> {
    auto all = locked(folder_ + "/lock", LOCK_EX);
    tree = text::trim(small_file(at("refs", ref)));
    return is_digest(tree) ? use(tree) : nullptr;
  }();
  if (found && !sound(tree)) found.reset();
  Result<std::shared_ptr<CachedModel>> out = found;
  if (found)
    cache_metrics().hits.add();
  else
    out = fetched(source, ref, state);
  ::unlink(lock_file.c_str());  // by who holds it
  return out;
}

Result<std::shared_ptr<CachedModel>> ModelCache::fetched(const Source& source, const std::string& ref,
                                                         const std::string& state) {
  cache_metrics().misses.add();
  auto temporary = at("tmp", crypto::random_hex(8));
  auto own = std::make_shared<CachedModel>(temporary, Fd{}, temporary);  // goes, unless it is given out
  std::error_code ec;
  fs::create_directories(temporary, ec);
  MR_TRY(auto place, source.fetch(temporary));
  if (place != temporary) return std::make_shared<CachedModel>(place);  // it lies on this machine
  if (limit_ == 0) return own;
  auto kept = keep(temporary);
  if (!kept) {
    log::warn("a model is not kept in the cache", {{"reason", kept.error().message}});
    return own;
  }
  auto all = locked(folder_ + "/lock", LOCK_EX);
  auto in_use = use(*kept);
  if (!in_use) return own;
  // What was fetched is known by the state only if that was the same before and after.
  if (!ref.empty() && source.state() == state) put_file(at("refs", ref), *kept + "\n");
  make_room();
  return in_use;
}

Result<std::string> ModelCache::keep(const std::string& folder) {
  std::vector<ListedFile> files;
  std::error_code ec;
  for (fs::recursive_directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec)) {
    if (!it->is_regular_file() || it->is_symlink()) continue;
    auto relative = it->path().lexically_relative(folder).string();
    if (relative.find('\n') != std::string::npos || files.size() >= kMaxCachedFiles)
      return fail(Code::invalid_argument, "its files cannot be listed");
    MR_TRY(auto digest, file_digest(it->path()));
    files.push_back({std::move(digest), std::move(relative)});
  }
  if (ec) return fail(Code::internal, ec.message());
  if (files.empty()) return fail(Code::not_found, "it has no files");
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  const auto list = list_text(files);
  auto tree = hex_digest(list);

  const auto place = at("trees", tree);
  if (fs::is_directory(place, ec) && sound(tree)) return tree;
  auto blob_of = [&](const ListedFile& f) { return fs::path(at("blobs", f.digest.substr(0, 2))) / f.digest; };
  for (const auto& f : files)
    if (auto there = file_digest(blob_of(f)); there && *there != f.digest) fs::remove(blob_of(f), ec);

  auto all = locked(folder_ + "/lock", LOCK_EX);
  if (!all) return fail(Code::internal, "the cache cannot be locked");
  if (fs::is_directory(place, ec)) return tree;  // another has just put it here
  // A tree of links to blobs, beside its place; the folder that was fetched gives the blobs that are new.
  const auto building = at("tmp", crypto::random_hex(8));
  CachedModel gone("", Fd{}, building);
  for (const auto& f : files) {
    auto from = fs::path(folder) / f.path;
    auto blob = blob_of(f);
    auto to = fs::path(building) / f.path;
    fs::create_directories(blob.parent_path(), ec);
    fs::create_directories(to.parent_path(), ec);
    ::chmod(from.c_str(), 0444);
    if (::link(from.c_str(), blob.c_str()) != 0 && errno != EEXIST) return fail_errno("a file cannot be kept", errno);
    if (::link(blob.c_str(), to.c_str()) != 0) return fail_errno("a file cannot be kept", errno);
  }
  if (!put_file(place + ".list", list)) return fail(Code::internal, "the list of a model's files cannot be written");
  if (fs::rename(building, place, ec); ec) return fail(Code::internal, ec.message());
  std::lock_guard guard(mutex_);
  sound_.insert(tree);
  return tree;
}

bool ModelCache::sound(const std::string& tree) {
  {
    std::lock_guard guard(mutex_);
    if (sound_.contains(tree)) return true;
  }
  struct stat before{}, now{};
  const bool seen = ::stat(at("trees", tree).c_str(), &before) == 0;
  const auto list = small_file(at("trees", tree + ".list"));
  bool good = hex_digest(list) == tree;
  for (const auto& f : read_list(list)) {
    auto digest = file_digest(fs::path(at("trees", tree)) / f.path);
    if (digest && *digest == f.digest) continue;
    good = false;
    log::warn("a file of the model cache is damaged and removed", {{"digest", f.digest}});
    std::error_code ec;
    fs::remove(at("blobs", f.digest.substr(0, 2) + "/" + f.digest), ec);
  }
  if (!good) {
    auto all = locked(folder_ + "/lock", LOCK_EX);
    // Another may have put a sound one there meanwhile.
    if (seen && ::stat(at("trees", tree).c_str(), &now) == 0 && now.st_ino == before.st_ino &&
        now.st_ctim.tv_sec == before.st_ctim.tv_sec && now.st_ctim.tv_nsec == before.st_ctim.tv_nsec)
      remove_tree(tree);
    return false;
  }
  std::lock_guard guard(mutex_);
  sound_.insert(tree);
  return true;
}

std::shared_ptr<CachedModel> ModelCache::use(const std::string& tree) {
  auto fd = locked(at("uses", tree), LOCK_SH);
  std::error_code ec;
  auto place = at("trees", tree);
  if (!fd || !fs::is_directory(place, ec)) return nullptr;
  // Used now, to the nanosecond: the file system's own clock ticks a few hundred times a second.
  timespec times[2];
  ::clock_gettime(CLOCK_REALTIME, &times[0]);
  times[1] = times[0];
  ::futimens(fd.get(), times);
  return std::make_shared<CachedModel>(std::move(place), std::move(fd));
}

void ModelCache::remove_tree(const std::string& tree) {
  std::error_code ec;
  fs::remove_all(at("trees", tree), ec);
  fs::remove(at("trees", tree + ".list"), ec);
  std::lock_guard guard(mutex_);
  sound_.erase(tree);
}

void ModelCache::make_room() {
  struct Blob {
    fs::path path;
    std::uint64_t size = 0;
  };
  std::uint64_t total = 0;
  auto sweep = [&] {  // what no tree links to any more, and the sum of the rest
    total = 0;
    std::error_code ec;
    for (fs::recursive_directory_iterator it(folder_ + "/blobs", ec), end; !ec && it != end; it.increment(ec)) {
      struct stat st{};
      if (::stat(it->path().c_str(), &st) != 0 || !S_ISREG(st.st_mode)) continue;
      if (st.st_nlink == 1)
        ::unlink(it->path().c_str());
      else
        total += static_cast<std::uint64_t>(st.st_size);
    }
  };
  sweep();
  if (total > limit_) {
    std::vector<std::pair<std::int64_t, std::string>> uses;
    std::error_code ec;
    for (fs::directory_iterator it(folder_ + "/uses", ec), end; !ec && it != end; it.increment(ec)) {
      struct stat st{};
      if (::stat(it->path().c_str(), &st) == 0)
        uses.emplace_back(st.st_mtim.tv_sec * 1'000'000'000LL + st.st_mtim.tv_nsec, it->path().filename().string());
    }
    std::sort(uses.begin(), uses.end());
    for (const auto& [_, tree] : uses) {
      if (total <= limit_) break;
      auto alone = locked(at("uses", tree), LOCK_EX | LOCK_NB);
      if (!alone) continue;  // somebody reads it
      remove_tree(tree);
      ::unlink(at("uses", tree).c_str());
      cache_metrics().evicted.add();
      sweep();
    }
    for (fs::directory_iterator it(folder_ + "/refs", ec), end; !ec && it != end; it.increment(ec)) {
      std::error_code one;
      auto tree = std::string(text::trim(small_file(it->path())));
      if (!is_digest(tree) || !fs::exists(at("trees", tree), one)) fs::remove(it->path(), one);
    }
  }
  cache_metrics().bytes.set(static_cast<double>(total));
}

}  // namespace mr::serving
