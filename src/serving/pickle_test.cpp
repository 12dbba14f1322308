// The pickle reader, opcode by opcode, with streams written by hand.
#include "serving/formats/pickle.h"

#include <zlib.h>

#include "http/compress.h"

namespace mr::serving {
namespace {

using namespace std::string_literals;

// A stream of protocol 4 around `ops`.
std::string stream(const std::string& ops) { return "\x80\x04"s + ops + "."; }

// A tree as a text, so that a table can say what is expected.
std::string shown(const Tree& t, NodeId id, int depth = 0) {
  if (id == kNoNode) return "-";
  if (depth > 6) return "…";
  const auto& n = t.at(id);
  std::string items;
  for (auto i : n.items) items += (items.empty() ? "" : ",") + shown(t, i, depth + 1);
  switch (n.kind) {
    case NodeKind::none:
      return "None";
    case NodeKind::boolean:
      return n.integer != 0 ? "True" : "False";
    case NodeKind::integer:
      return std::to_string(n.integer);
    case NodeKind::real:
      return fmt::format("{}f", n.real);
    case NodeKind::text:
      return "'" + n.text + "'";
    case NodeKind::bytes:
      return fmt::format("b{}", n.text.size());
    case NodeKind::list:
      return "[" + items + "]";
    case NodeKind::tuple:
      return "(" + items + ")";
    case NodeKind::dict:
      return "{" + items + "}";
    case NodeKind::symbol:
      return "<" + n.text + ">";
    case NodeKind::object:
      return t.class_of(id) + "(" + items + ")" + (n.state == kNoNode ? "" : "+" + shown(t, n.state, depth + 1));
    case NodeKind::array:
      return fmt::format("array{}", t.arrays.at(static_cast<std::size_t>(n.array)).size());
  }
  return "?";
}
std::string read(const std::string& bytes, const ReadLimits& limits = {}) {
  auto t = read_pickle(bytes, limits);
  return t ? shown(*t, t->root) : "error: " + t.error().message;
}

TEST(Pickle, ReadsValues) {
  const std::pair<std::string, std::string> cases[] = {
      {"N", "None"},
      {"\x88", "True"},
      {"\x89", "False"},
      {"K\xff", "255"},
      {"M\xff\xff"s, "65535"},
      {"J\xfe\xff\xff\xff"s, "-2"},
      {"\x8a\x00"s, "0"},
      {"\x8a\x01\xff"s, "-1"},
      {"\x8a\x02\x00\x80"s, "-32768"},
      {"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"s, "9223372036854775807"},
      {"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x00"s,
       "9223372036854775807"},  // beyond 64 bits: held at the end of the range
      {"\x8b\x01\x00\x00\x00\x05"s, "5"},
      {"G\x3f\xf8\x00\x00\x00\x00\x00\x00"s, "1.5f"},
      {"X\x03\x00\x00\x00"
       "abc"s,
       "'abc'"},
      {"\x8c\x02hi"s, "'hi'"},
      {"\x8d\x02\x00\x00\x00\x00\x00\x00\x00hi"s, "'hi'"},
      {"C\x03\x00\xff\x01"s, "b3"},
      {"B\x02\x00\x00\x00xy"s, "b2"},
      {"\x8e\x01\x00\x00\x00\x00\x00\x00\x00x"s, "b1"},
      {"\x96\x01\x00\x00\x00\x00\x00\x00\x00x"s, "b1"},
      {"U\x02hi"s, "'hi'"},
      {"]", "[]"},
      {"}", "{}"},
      {")", "()"},
      {"K\x01\x85"s, "(1)"},
      {"K\x01K\x02\x86"s, "(1,2)"},
      {"K\x01K\x02K\x03\x87"s, "(1,2,3)"},
      {"(K\x01K\x02K\x03K\x04t"s, "(1,2,3,4)"},
      {"]K\x01"s + "a", "[1]"},
      {"](K\x01K\x02"s + "e", "[1,2]"},
      {"}K\x01K\x02s"s, "{1,2}"},
      {"}(K\x01K\x02K\x03K\x04u"s, "{1,2,3,4}"},
      {"\x8f(K\x01K\x02\x90"s, "[1,2]"},
      {"(K\x01\x91"s, "[1]"},
      {"K\x01K\x02"
       "0"s,
       "1"},
      {"K\x01(K\x02"
       "1"s,
       "1"},
      {"K\x01"
       "2\x86"s,
       "(1,1)"},
      {"K\x07q\x00"
       "0h\x00"s,
       "7"},
      {"K\x07r\x00\x01\x00\x00"
       "0j\x00\x01\x00\x00"s,
       "7"},
      {"K\x07\x94K\x08\x94"
       "0h\x00\x86"s,
       "(7,7)"},
      {"\x95\x02\x00\x00\x00\x00\x00\x00\x00K\x01"s, "1"},
  };
  for (const auto& [ops, want] : cases)
    EXPECT_EQ(read(stream(ops)), want) << fmt::format("{:02x}", fmt::join(ops, " "));
}

TEST(Pickle, ReadsObjectsWithoutMakingThem) {
  const std::string cls = "csklearn.linear_model._base\nLinearRegression\n";
  EXPECT_EQ(read(stream(cls)), "<sklearn.linear_model._base.LinearRegression>");
  EXPECT_EQ(read(stream(cls + ")\x81")), "sklearn.linear_model._base.LinearRegression()");
  EXPECT_EQ(read(stream(cls + ")R")), "sklearn.linear_model._base.LinearRegression()");
  EXPECT_EQ(read(stream(cls + ")}\x92")), "sklearn.linear_model._base.LinearRegression()");
  EXPECT_EQ(read(stream(cls + ")\x81}\x8c\x01xK\x05sb"s)), "sklearn.linear_model._base.LinearRegression()+{'x',5}");
  EXPECT_EQ(read(stream("\x8c\x08"
                        "builtins\x8c\x05slice\x93K\x01K\x02K\x03\x87R"s)),
            "builtins.slice(1,2,3)");
  // object.__reduce_ex__(2) of old pickles, and bytes written as latin-1 text.
  EXPECT_EQ(read(stream("ccopy_reg\n_reconstructor\n" + cls + "c__builtin__\nobject\nN\x87R")),
            "sklearn.linear_model._base.LinearRegression()");
  auto t =
      read_pickle(stream("c_codecs\nencode\nX\x06\x00\x00\x00\xc3\xbf\x41\xc2\x80\x42X\x06\x00\x00\x00latin1\x86R"s));
  ASSERT_TRUE(t) << t.error().message;
  EXPECT_EQ(t->at(t->root).text, "\xff\x41\x80\x42");
}

TEST(Pickle, NamesWhatItWillNotRead) {
  const std::pair<std::string, std::string> cases[] = {
      {"cposix\nsystem\n\x8c\x06touch \x85R"s, "'posix.system' is not read natively"},
      {"cos\nsystem\n"s, "'os.system' is not read natively"},
      {"\x8c\x08"
       "builtins\x8c\x04"
       "eval\x93"s,
       "'builtins.eval' is not read natively"},
      {"cbuiltins\ngetattr\n"s, "'builtins.getattr' is not read natively"},
      {"csubprocess\nPopen\n"s, "'subprocess.Popen' is not read natively"},
      {"cnumpy.core.multiarray\n_reconstruct.x\n"s, "'numpy.core.multiarray._reconstruct.x' is not read natively"},
      {"csklearn.manifold._isomap\nIsomap\n"s, "'sklearn.manifold._isomap.Isomap' is not read natively"},
      {"c\n\n"s, "'.' is not read natively"},
      {"c\x1b[31m\nx\n"s, "'\\x1b[31m.x' is not read natively"},  // nothing that a terminal would obey
      {"Pid\n"s, "the pickle opcode PERSID is not read"},
      {"K\x01Q"s, "the pickle opcode BINPERSID is not read"},
      {"(ios\nsystem\n"s, "the pickle opcode INST is not read"},
      {"(K\x01o"s, "the pickle opcode OBJ is not read"},
      {"\x82\x01"s, "the pickle opcode EXT1 is not read"},
      {"I1\n"s, "the pickle opcode INT is not read"},
      {"S'x'\n"s, "the pickle opcode STRING is not read"},
      {"\x97"s, "the pickle opcode NEXT_BUFFER is not read"},
      {"\xff"s, "the byte 0xff at offset 2 is no pickle opcode"},
      {"!"s, "the byte 0x21 at offset 2 is no pickle opcode"},
  };
  for (const auto& [ops, want] : cases) EXPECT_EQ(read(stream(ops)), "error: " + want);
  EXPECT_EQ(read("\x80\x01N."), "error: pickle protocol 1 is not read; 2 to 5 are");
  EXPECT_EQ(read("\x80\x06N."), "error: pickle protocol 6 is not read; 2 to 5 are");
}

TEST(Pickle, RefusesDamage) {
  const std::string bad[] = {"",
                             "\x80",
                             stream(""),
                             stream("("),
                             stream("0"),
                             stream("1"),
                             stream("a"),
                             stream("]a"),
                             stream("K\x01"
                                    "a"),
                             stream("e"),
                             stream("}(K\x01u"s),
                             stream("s"),
                             stream("h\x05"),
                             stream("\x85"),
                             stream("(\x85"s),
                             stream("K\x01K\x01R"s),
                             stream("K\x01)R"s),
                             stream(")R"s),
                             stream("b"),
                             stream("N}b"),
                             stream("K\x01K\x02\x93"s),
                             stream("q\x00"s),
                             stream("(t)R"s),
                             stream("cno newline"),
                             stream("c" + std::string(5000, 'x') + "\nx\n"),
                             stream("\x95\xff\xff\xff\xff\xff\xff\xff\x7f"s),
                             stream("X\xff\xff\xff\xff"s),
                             stream("\x8e\xff\xff\xff\xff\xff\xff\xff\xff"s),
                             stream("\x8b\xff\xff\xff\xff"s),
                             stream("c_codecs\nencode\nK\x01\x85R"s),
                             stream("c_codecs\nencode\nX\x03\x00\x00\x00\xe2\x82\xac\x85R"s)};
  for (const auto& b : bad)
    EXPECT_TRUE(read(b).starts_with("error: ")) << fmt::format("{:02x}", fmt::join(b.substr(0, 40), " "));
}

TEST(Pickle, AnyCutIsRefused) {
  const std::string whole =
      "\x80\x04\x95\x30\x00\x00\x00\x00\x00\x00\x00"
      "csklearn.linear_model._base\nRidge\n"s;
  const std::string good = stream(
      "}(\x8c\x01"
      "aG\x3f\xf0\x00\x00\x00\x00\x00\x00\x8c\x01"
      "b]\x94(K\x01M\x10\x00\x8a\x02\x01\x01"
      "e\x8c\x01"
      "c)\x81u"s);
  const std::string better = stream(
      "}(\x8c\x01"
      "aG\x3f\xf0\x00\x00\x00\x00\x00\x00\x8c\x01"
      "b]\x94(K\x01M\x10\x00\x8a\x02\x01\x01"
      "eu"s);
  ASSERT_EQ(read(better), "{'a',1f,'b',[1,16,257]}");
  for (std::size_t n = 0; n < better.size(); ++n) EXPECT_TRUE(read(better.substr(0, n)).starts_with("error: ")) << n;
  for (std::size_t n = 0; n < good.size(); ++n) (void)read(good.substr(0, n));
  for (std::size_t n = 0; n < whole.size(); ++n) EXPECT_TRUE(read(whole.substr(0, n)).starts_with("error: ")) << n;
}

TEST(Pickle, SharesAndCyclesCostNothing) {
  // A list that holds itself, and 300,000 nested tuples: the reader and the tree's end must not recurse.
  auto t =
      read_pickle(stream("]\x94h\x00"
                         "a"s));
  ASSERT_TRUE(t) << t.error().message;
  EXPECT_EQ(t->at(t->root).items, std::vector<NodeId>{t->root});
  auto deep = read_pickle(stream(")" + std::string(300000, '\x85')));
  ASSERT_TRUE(deep) << deep.error().message;
  EXPECT_EQ(deep->nodes.size(), 300001U);
}

TEST(Pickle, HoldsItsLimits) {
  ReadLimits small;
  small.max_nodes = 1000;
  small.max_stack = 100;
  small.max_bytes = 100000;
  EXPECT_EQ(read(stream(std::string(101, 'N')), small), "error: the pickle has more values than are read");
  std::string dropped;
  for (int i = 0; i < 1100; ++i) dropped += "N0";  // the file's own size adds a few
  EXPECT_EQ(read(stream(dropped + "N"), small), "error: the pickle has more values than are read");
  EXPECT_TRUE(read(std::string(100001, 'N'), small).starts_with("error: the file is larger"));
  EXPECT_EQ(read(stream(std::string(90, 'N')), small), "None");
}

// References are cheap in the file: what each of them copies must count.
TEST(Pickle, ManyCallsWithOneLargeTupleAreRefused) {
  ReadLimits small;
  small.max_nodes = 10000;
  std::string ops = "cbuiltins\nlist\n\x94(";
  ops += std::string(5000, 'N') + "t\x94";
  for (int i = 0; i < 2000; ++i) ops += "h\x00h\x01R0"s;  // ten million items from 12 KB
  EXPECT_EQ(read(stream(ops + "N"), small), "error: the pickle has more values than are read");
}

TEST(Pickle, ManyCopiesOfOneLargeTextAreRefused) {
  ReadLimits small;
  small.max_bytes = 200000;
  std::string ops = "c_codecs\nencode\n\x94X\xa0\x86\x01\x00"s + std::string(100000, 'x') + "\x85\x94";
  for (int i = 0; i < 5000; ++i) ops += "h\x00h\x01R0"s;  // 500 MB from 130 KB
  auto r = read(stream(ops + "N"), small);
  EXPECT_TRUE(r.starts_with("error: the pickle ")) << r;
}

TEST(Decompress, KnowsJoblibsForms) {
  std::string plain(100000, 'p');
  uLongf n = compressBound(plain.size());
  std::string packed(n, '\0');
  compress(reinterpret_cast<Bytef*>(packed.data()), &n, reinterpret_cast<const Bytef*>(plain.data()), plain.size());
  packed.resize(n);
  EXPECT_EQ(*decompress(packed, 200000), plain);
  EXPECT_EQ(decompress(packed, 50000).error().code, Code::too_large);
  EXPECT_FALSE(decompress(packed.substr(0, packed.size() - 4), 200000));
  EXPECT_EQ(*decompress("\x80\x04N.", 100), "\x80\x04N.");
  auto gz = http::gzip(plain);
  EXPECT_EQ(*decompress(gz, 200000), plain);
  EXPECT_EQ(decompress(gz, 50000).error().code, Code::too_large);
  EXPECT_FALSE(decompress(gz.substr(0, gz.size() - 12), 200000));
}

}  // namespace
}  // namespace mr::serving
