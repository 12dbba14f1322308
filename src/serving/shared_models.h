// Engines that several models of this process share: models whose files are the same, whether in one repository or in
// several predictors, are read once and take their memory once. Blocking. Thread safe.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "serving/formats/mlmodel.h"

namespace mr::serving {

class SharedModels {
 public:
  static SharedModels& of_process();

  // The model that `make` reads from `path`; or, where an earlier one of the same files is still in use, that one. Of
  // several calls for the same files one reads. Remote engines are each model's own, as all are without `share`. A
  // LoadedModel from here knows its memory, and the process's gauge counts it as long as anybody holds the engine.
  Result<LoadedModel> load(const std::string& path, bool share, const std::function<Result<LoadedModel>()>& make);

 private:
  struct Entry {
    std::mutex reading;
    bool remote = false;
    std::weak_ptr<const Engine> engine;
    LoadedModel rest;  // without the engine
  };
  std::shared_ptr<Entry> entry(const std::string& key);

  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Entry>> entries_;
  std::size_t prune_at_ = 64;
};

// What stands for the content of a model's files: where each lies on its disk, its size and its time. Empty: nothing
// does, since a file has just been written (a change of the same moment would not show), or there are too many.
std::string content_key(const std::string& path);

// What an engine takes that does not say it itself, by its files: they are packed, and it keeps them unpacked.
std::uint64_t memory_by_files(const std::string& path);

}  // namespace mr::serving
