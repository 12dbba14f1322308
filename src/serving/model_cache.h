// Fetched models on this machine's disk, by their content: pods, revisions and programs that share the folder fetch a
// model once and keep it once. Blocking: for worker threads. Thread safe, and safe beside other processes.
//
// In the folder: blobs/ab/abcd… are files by their SHA-256, never written again; trees/DIGEST are models, whose files
// are hard links to blobs, with trees/DIGEST.list, which says each file's digest and whose own digest the name is;
// refs/ say which tree a state of a source was; uses/ are locked by who reads a tree. What appears there is written
// elsewhere and renamed. The one used least recently goes when all together are larger than they may be.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "core/error.h"
#include "core/fd.h"

namespace mr::serving {

// A model's place, good as long as this lives: a tree of the cache, or a folder that goes with it.
class CachedModel {
 public:
  explicit CachedModel(std::string path, Fd use = {}, std::string temporary = {})
      : path_(std::move(path)), use_(std::move(use)), temporary_(std::move(temporary)) {}
  CachedModel(const CachedModel&) = delete;
  CachedModel& operator=(const CachedModel&) = delete;
  ~CachedModel();
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
  Fd use_;  // its lock keeps the tree
  std::string temporary_;
};

class ModelCache {
 public:
  // `limit` in bytes; 0: nothing is kept, and each model is a folder of its own.
  static Result<std::shared_ptr<ModelCache>> open(const std::string& folder, std::uint64_t limit);

  struct Source {
    // Names one state of the source: where it is, and the tags that change with its content. Empty: cannot be told.
    std::function<std::string()> state;
    // Puts the model's files into the folder, which is there, or names the local place where they lie already.
    std::function<Result<std::string>(const std::string& folder)> fetch;
  };
  // The model: from the cache where that state of the source is there and undamaged, else fetched. Of those who ask for
  // one state at once, one fetches. Once `stop` is true it ends soon, with an error.
  Result<std::shared_ptr<CachedModel>> get(const Source& source, const std::atomic<bool>& stop);

 private:
  ModelCache(std::string folder, std::uint64_t limit) : folder_(std::move(folder)), limit_(limit) {}
  [[nodiscard]] std::string at(std::string_view kind, std::string_view name) const;
  Result<std::shared_ptr<CachedModel>> fetched(const Source& source, const std::string& ref, const std::string& state);
  // The tree in use from now on, or null. The folder's lock is held.
  std::shared_ptr<CachedModel> use(const std::string& tree);
  // Puts files that lie in `folder` into the cache; the tree's digest.
  Result<std::string> keep(const std::string& folder);
  // Whether every file is what the list says; what is not goes. Looked at once in this process. The folder's lock is
  // not held.
  bool sound(const std::string& tree);
  void remove_tree(const std::string& tree);
  void make_room();

  std::string folder_;
  std::uint64_t limit_;
  std::mutex mutex_;
  std::set<std::string> sound_;  // trees that this process has looked through
};

// Whether a file lies in the cache of this process, so that nobody changes it and it can be mapped.
bool in_model_cache(const std::string& path);

}  // namespace mr::serving
