#include "objects/store.h"

#include <fstream>
#include <random>
#include <sstream>

#include "await.h"
#include "objects/checksum.h"
#include "temp_dir.h"

namespace mr::objects {
namespace {

namespace fs = std::filesystem;

class StoreTest : public ::testing::Test {
 protected:
  StoreTest() { open(); }
  ~StoreTest() override { store->stop(); }
  void open() {
    auto s = Store::open(dir.file("objects"));
    if (!s || !(*s)->make_bucket_blocking("b")) std::abort();
    store = std::move(*s);
  }
  template <class T>
  T wait(task::Task<T> t) {
    return testing::await_on(loops, std::move(t));
  }
  Result<> put(const std::string& key, std::string_view bytes, WriteCondition cond = {},
               const std::string& etag = "etag") {
    auto file = store->temporary();
    if (!file || !file->append(bytes)) return fail(Code::internal, "no temporary");
    auto blob = wait(store->keep(*file));
    if (!blob) return std::unexpected(blob.error());
    Object o;
    o.key = key;
    o.size = bytes.size();
    o.etag = etag;
    o.blob = *blob;
    return wait(store->put("b", std::move(o), std::move(cond)));
  }
  // Rows only, for listings: many keys, quickly.
  void put_rows(const std::set<std::string>& keys) {
    std::vector<std::string> all(keys.begin(), keys.end());
    std::mt19937 gen(4);
    std::shuffle(all.begin(), all.end(), gen);
    for (const auto& k : all) {
      Object o;
      o.key = k;
      ASSERT_TRUE(wait(store->put("b", std::move(o), {})));
    }
  }
  std::string content(const std::string& key) {
    auto o = store->head("b", key);
    if (!o) return "error: " + o.error().reason;
    std::ifstream in(store->blob_path(o->blob), std::ios::binary);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
  }
  std::size_t files() {
    std::size_t n = 0;
    for (const auto& e : fs::recursive_directory_iterator(dir.file("objects/blobs"))) n += e.is_regular_file() ? 1 : 0;
    return n;
  }
  // Old blobs are removed behind the answer.
  void expect_files(std::size_t n) {
    for (int i = 0; i < 200 && files() != n; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_EQ(files(), n);
  }
  testing::TempDir dir;
  task::Loops loops{1};
  std::unique_ptr<Store> store;
};

TEST_F(StoreTest, KeepsReplacesAndRemoves) {
  ASSERT_TRUE(put("k", "one"));
  ASSERT_TRUE(put("k", "two"));
  EXPECT_EQ(content("k"), "two");
  expect_files(1);
  ASSERT_TRUE(wait(store->remove("b", "k", "")));
  EXPECT_EQ(content("k"), "error: NoSuchKey");
  EXPECT_TRUE(wait(store->remove("b", "k", "")));  // deleting what is not there is fine
  expect_files(0);
  EXPECT_EQ(store->head("nobucket", "k").error().reason, "NoSuchBucket");
  EXPECT_TRUE(fs::is_empty(dir.file("objects/tmp")));
}

TEST_F(StoreTest, ConditionsAreJudgedWithTheWrite) {
  auto reason = [](const Result<>& r) { return r ? std::string() : r.error().reason; };
  EXPECT_EQ(reason(put("k", "1", {.if_match = "x"})), "NoSuchKey");
  EXPECT_EQ(reason(put("k", "1", {.if_absent = true}, "e1")), "");
  EXPECT_EQ(reason(put("k", "2", {.if_absent = true})), "PreconditionFailed");
  EXPECT_EQ(reason(put("k", "2", {.if_match = "e0"})), "PreconditionFailed");
  EXPECT_EQ(reason(put("k", "2", {.if_match = "e1"}, "e2")), "");
  EXPECT_EQ(reason(put("k", "3", {.if_match = "*"}, "e3")), "");
  EXPECT_EQ(content("k"), "3");
  EXPECT_EQ(reason(wait(store->remove("b", "k", "e2"))), "PreconditionFailed");
  expect_files(1);  // refused writes leave no file
  // Of many who want to be first, one is.
  std::atomic<int> first = 0;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      if (put("race", std::to_string(t), {.if_absent = true})) ++first;
    });
  threads.clear();
  EXPECT_EQ(first, 1);
  expect_files(2);
}

TEST_F(StoreTest, SurvivesReopening) {
  ASSERT_TRUE(put("a/b", "bytes"));
  std::ofstream(dir.file("objects/tmp/left-by-a-crash")) << "half";
  store->stop();
  store.reset();
  open();
  EXPECT_EQ(content("a/b"), "bytes");
  EXPECT_TRUE(fs::is_empty(dir.file("objects/tmp")));
  EXPECT_EQ(store->buckets()->size(), 1U);
}

TEST_F(StoreTest, BucketsGoOnlyWhenEmpty) {
  ASSERT_TRUE(put("k", "x"));
  EXPECT_EQ(wait(store->delete_bucket("b")).error().reason, "BucketNotEmpty");
  ASSERT_TRUE(wait(store->remove_all("b", {"k", "absent"})));
  EXPECT_TRUE(wait(store->delete_bucket("b")));
  EXPECT_EQ(wait(store->delete_bucket("b")).error().reason, "NoSuchBucket");
  EXPECT_EQ(put("k", "x").error().reason, "NoSuchBucket");
  expect_files(0);
}

TEST_F(StoreTest, JoinsPartsInOrder) {
  Upload u;
  u.id = "u1";
  u.bucket = "b";
  u.key = "big";
  ASSERT_TRUE(wait(store->create_upload(u)));
  for (int n : {3, 1, 2, 1}) {  // part 1 twice: the later one counts
    auto file = store->temporary();
    ASSERT_TRUE(file->append(std::string(3, static_cast<char>('0' + n))));
    auto blob = wait(store->keep(*file));
    Part p;
    p.number = n;
    p.size = 3;
    p.blob = *blob;
    ASSERT_TRUE(wait(store->put_part("b", "big", "u1", p)));
  }
  expect_files(3);
  EXPECT_EQ(content("big"), "error: NoSuchKey");  // not there until it is complete
  auto parts = store->parts("u1");
  ASSERT_TRUE(parts);
  ASSERT_EQ(parts->size(), 3U);
  auto joined = wait(store->join(*parts, ChecksumAlgorithm::crc32));
  ASSERT_TRUE(joined);
  joined->key = "big";
  ASSERT_TRUE(wait(store->complete(u, *joined, {})));
  EXPECT_EQ(content("big"), "111222333");
  expect_files(1);
  EXPECT_EQ(store->upload("b", "big", "u1").error().reason, "NoSuchUpload");
  EXPECT_EQ(wait(store->abort(u)).error().reason, "NoSuchUpload");
}

TEST_F(StoreTest, CopiesARange) {
  ASSERT_TRUE(put("k", "0123456789"));
  auto o = wait(store->copy_blob(store->head("b", "k")->blob, 2, 5, ChecksumAlgorithm::crc32));
  ASSERT_TRUE(o);
  EXPECT_EQ(o->size, 5U);
  EXPECT_EQ(o->checksum.value, checksum_of(ChecksumAlgorithm::crc32, "23456"));
  EXPECT_EQ(wait(store->copy_blob(store->head("b", "k")->blob, 8, 5, ChecksumAlgorithm::none)).error().code,
            Code::data_loss);
  EXPECT_TRUE(fs::is_empty(dir.file("objects/tmp")));
}

// S3's listing, said the simple way.
Listing naive(const std::set<std::string>& keys, const ListQuery& q) {
  std::vector<std::pair<std::string, bool>> entries;  // text, is it a prefix
  for (const auto& k : keys) {
    if (!k.starts_with(q.prefix)) continue;
    std::string entry = k;
    bool prefix = false;
    if (!q.delimiter.empty()) {
      auto at = k.find(q.delimiter, q.prefix.size());
      if (at != std::string::npos) {
        entry = k.substr(0, at + q.delimiter.size());
        prefix = true;
      }
    }
    // After a common prefix come the entries behind it, not the keys below it.
    if (!q.after.empty() && (k <= q.after || (prefix && entry == q.after))) continue;
    if (!entries.empty() && entries.back().first == entry) continue;
    entries.emplace_back(entry, prefix);
  }
  Listing out;
  for (const auto& [entry, prefix] : entries) {
    if (out.objects.size() + out.prefixes.size() == q.max_keys) {
      out.truncated = q.max_keys > 0;
      break;
    }
    out.last = entry;
    if (prefix) {
      out.prefixes.push_back(entry);
    } else {
      out.objects.push_back({});
      out.objects.back().key = entry;
    }
  }
  return out;
}

std::string shown(const Listing& l) {
  std::string out;
  for (const auto& o : l.objects) out += o.key + " ";
  out += "| ";
  for (const auto& p : l.prefixes) out += p + " ";
  return out + (l.truncated ? "| more after " + l.last : "| end");
}

TEST_F(StoreTest, ListsLikeTheNaiveModel) {
  std::mt19937 gen(20240517);
  const std::string letters[] = {"a", "b", "/", "-", "//", "\xC3\xA9", "\xF0\x9F\x98\x80", "0"};
  std::set<std::string> keys;
  while (keys.size() < 250) {
    std::string k;
    for (std::size_t i = 1 + gen() % 6; i > 0; --i) k += letters[gen() % std::size(letters)];
    keys.insert(k);
  }
  put_rows(keys);
  std::vector<std::string> all(keys.begin(), keys.end());
  auto some = [&]() -> std::string { return all[gen() % all.size()]; };
  for (int i = 0; i < 1500; ++i) {
    ListQuery q;
    if (gen() % 3 != 0) q.prefix = some().substr(0, gen() % 4);
    if (gen() % 3 != 0) q.delimiter = std::vector<std::string>{"/", "-", "ab", "\xC3\xA9"}[gen() % 4];
    q.max_keys = 1 + gen() % 12;
    if (gen() % 8 == 0) q.max_keys = 1000;
    // Every page of it, each from where the last ended, as a client walks.
    for (int page = 0; page < 300; ++page) {
      auto got = store->list("b", q);
      ASSERT_TRUE(got);
      auto want = naive(keys, q);
      ASSERT_EQ(shown(*got), shown(want)) << "prefix '" << q.prefix << "' delimiter '" << q.delimiter << "' after '"
                                          << q.after << "' max " << q.max_keys;
      if (!got->truncated) break;
      ASSERT_GT(got->last, q.after);
      q.after = got->last;
    }
  }
}

TEST_F(StoreTest, ListsFromAnyKey) {
  std::set<std::string> keys;
  for (int i = 0; i < 40; ++i) keys.insert(fmt::format("d{}/k{:02}", i % 4, i));
  keys.insert("d");
  keys.insert("e");
  put_rows(keys);
  for (const auto& after : {"d", "d1/k05", "d1/zzz", "d3", "e", "zz", "a"}) {
    ListQuery q;
    q.after = after;
    q.max_keys = 7;
    EXPECT_EQ(shown(*store->list("b", q)), shown(naive(keys, q))) << after;
  }
  ListQuery none;
  none.max_keys = 0;
  EXPECT_EQ(shown(*store->list("b", none)), "| | end");
  ListQuery folders;
  folders.delimiter = "/";
  EXPECT_EQ(shown(*store->list("b", folders)), "d e | d0/ d1/ d2/ d3/ | end");
  EXPECT_EQ(store->list("nobucket", {}).error().reason, "NoSuchBucket");
}

TEST(ChecksumRun, GivesBase64OfBigEndian) {
  EXPECT_EQ(checksum_of(ChecksumAlgorithm::crc32, "hello world"), "DUoRhQ==");
  EXPECT_EQ(checksum_of(ChecksumAlgorithm::crc32c, "123456789"), "4waSgw==");
  EXPECT_EQ(checksum_of(ChecksumAlgorithm::sha1, "abc"), "qZk+NkcGgWq6PiVxeFDCbJzQ2J0=");
  EXPECT_EQ(parse_checksum_name("crc64nvme"), ChecksumAlgorithm::crc64nvme);
  EXPECT_EQ(parse_checksum_name("md5"), ChecksumAlgorithm::none);
}

}  // namespace
}  // namespace mr::objects
