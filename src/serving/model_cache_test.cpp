// The cache of fetched models: fetched once, kept once, looked through, in use while it is held, bounded.
#include "serving/model_cache.h"

#include <filesystem>
#include <fstream>
#include <thread>

#include "temp_dir.h"

namespace mr::serving {
namespace {

namespace fs = std::filesystem;

const std::atomic<bool> kGoOn = false;

std::string read(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// A model elsewhere, of two files.
struct Remote {
  std::string state = "v1";
  std::string content = "weights";
  std::atomic<int> fetched = 0;
  ModelCache::Source source() {
    return {.state = [this] { return state; },
            .fetch = [this](const std::string& folder) -> Result<std::string> {
              ++fetched;
              fs::create_directories(folder + "/data");
              std::ofstream(folder + "/MLmodel") << "flavors";
              std::ofstream(folder + "/data/model.bin") << content;
              return folder;
            }};
  }
};

struct Cache {
  explicit Cache(std::uint64_t limit = 1 << 20) : cache(*ModelCache::open(dir.file("cache"), limit)) {}
  std::shared_ptr<CachedModel> get(Remote& r) {
    auto model = cache->get(r.source(), kGoOn);
    EXPECT_TRUE(model) << model.error().message;
    return model ? *model : nullptr;
  }
  std::size_t files(const char* kind) {
    std::size_t n = 0;
    for (const auto& e : fs::recursive_directory_iterator(dir.file("cache") + "/" + kind)) n += e.is_regular_file();
    return n;
  }
  testing::TempDir dir;
  std::shared_ptr<ModelCache> cache;
};

TEST(ModelCache, AStateIsFetchedOnceAndContentKeptOnce) {
  Cache c;
  Remote r;
  auto one = c.get(r), two = c.get(r);
  ASSERT_TRUE(one && two);
  EXPECT_EQ(r.fetched, 1);
  EXPECT_EQ(one->path(), two->path());
  EXPECT_EQ(read(one->path() + "/data/model.bin"), "weights");
  EXPECT_TRUE(in_model_cache(one->path() + "/MLmodel"));
  auto may = fs::status(one->path() + "/MLmodel").permissions();
  EXPECT_EQ(may & (fs::perms::owner_write | fs::perms::group_write | fs::perms::others_write), fs::perms::none);
  // Elsewhere the same content, here one copy of it; a new version shares the file that is the same.
  Remote other{.state = "another place"};
  EXPECT_EQ(c.get(other)->path(), one->path());
  EXPECT_EQ(other.fetched, 1);
  EXPECT_EQ(c.files("blobs"), 2U);
  Remote next{.state = "v2", .content = "better weights"};
  EXPECT_NE(c.get(next)->path(), one->path());
  EXPECT_EQ(c.files("blobs"), 3U);
  EXPECT_EQ(c.files("tmp"), 0U);
}

TEST(ModelCache, OfManyAtOnceOneFetches) {
  Cache c;
  Remote r;
  auto other = *ModelCache::open(c.dir.file("cache"), 1 << 20);  // as another process has it
  std::vector<std::jthread> all;
  std::atomic<int> good = 0;
  for (int i = 0; i < 8; ++i)
    all.emplace_back([&, i] {
      auto model = (i % 2 == 0 ? c.cache : other)->get(r.source(), kGoOn);
      if (model && read((*model)->path() + "/data/model.bin") == "weights") ++good;
    });
  all.clear();
  EXPECT_EQ(good, 8);
  EXPECT_EQ(r.fetched, 1);
  EXPECT_EQ(c.files("fetching"), 0U);
}

TEST(ModelCache, WhatIsDamagedIsFetchedAnew) {
  Cache c;
  Remote r;
  auto file = c.get(r)->path() + "/data/model.bin";
  fs::permissions(file, fs::perms::owner_write, fs::perm_options::add);
  std::ofstream(file) << "weighty";
  auto other = *ModelCache::open(c.dir.file("cache"), 1 << 20);
  auto again = other->get(r.source(), kGoOn);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(r.fetched, 2);
  EXPECT_EQ(read((*again)->path() + "/data/model.bin"), "weights");
}

TEST(ModelCache, ASourceThatChangesMeanwhileIsNotRemembered) {
  Cache c;
  Remote r;
  auto source = r.source();
  source.state = [&, n = 0]() mutable { return fmt::format("state {}", n++); };
  ASSERT_TRUE(c.cache->get(source, kGoOn));
  EXPECT_EQ(c.files("refs"), 0U);
  source.state = [] { return std::string(); };  // and one that does not tell is fetched each time
  ASSERT_TRUE(c.cache->get(source, kGoOn));
  EXPECT_EQ(r.fetched, 2);
  EXPECT_EQ(c.files("blobs"), 2U);
}

TEST(ModelCache, TheOneUsedLeastRecentlyGoesUnlessItIsHeld) {
  Cache c(2500);
  Remote a{.state = "a", .content = std::string(1000, 'a')};
  Remote b{.state = "b", .content = std::string(1000, 'b')};
  Remote d{.state = "d", .content = std::string(1000, 'd')};
  auto held = c.get(a);
  auto place = c.get(b)->path();
  c.get(d);
  EXPECT_TRUE(fs::exists(held->path() + "/MLmodel")) << "in use";
  EXPECT_FALSE(fs::exists(place));
  EXPECT_EQ(c.files("refs"), 2U);
  c.get(b);
  EXPECT_EQ(b.fetched, 2);
  EXPECT_EQ(read(held->path() + "/data/model.bin"), a.content);
  held.reset();
  c.get(d);
  c.get(b);
  Remote e{.state = "e", .content = std::string(1000, 'e')};
  c.get(e);
  c.get(a);
  EXPECT_EQ(a.fetched, 2);
}

TEST(ModelCache, WithoutRoomAModelIsAFolderOfItsOwn) {
  Cache c(0);
  Remote r;
  auto model = c.get(r);
  auto path = model->path();
  EXPECT_EQ(read(path + "/data/model.bin"), "weights");
  EXPECT_FALSE(in_model_cache(path + "/MLmodel"));
  model.reset();
  EXPECT_FALSE(fs::exists(path));
  c.get(r);
  EXPECT_EQ(r.fetched, 2);
}

TEST(ModelCache, ErrorsAndLocalPlacesPassThrough) {
  Cache c;
  Remote r;
  auto source = r.source();
  source.fetch = [](const std::string&) -> Result<std::string> { return fail(Code::not_found, "no such model"); };
  auto failed = c.cache->get(source, kGoOn);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message, "no such model");
  source.fetch = [&](const std::string&) -> Result<std::string> { return c.dir.path(); };
  EXPECT_EQ((*c.cache->get(source, kGoOn))->path(), c.dir.path());
  EXPECT_EQ(c.files("trees"), 0U);
  EXPECT_TRUE(fs::is_empty(c.dir.file("cache") + "/tmp"));
}

}  // namespace
}  // namespace mr::serving
