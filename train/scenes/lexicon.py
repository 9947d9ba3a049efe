"""The words of scenes: nouns with their emoji, plurals and Japanese counters, colours, sizes, places, relations.

A noun's first word in each language is CLDR's short name, except where that is no name of one thing ("red apple", "cat
face", "hot beverage"): such emoji are left out or named plainly here. Further words, after a slash, are synonyms. Left out
too are emoji that the styles draw as different things.
"""

import re
from dataclasses import dataclass
from functools import cache

from .draws import hashed

# counter -> lines of "emoji English/synonym Japanese/synonym"; "_" stands for a space inside a word.
TABLE = {
    "匹": "🐕 dog イヌ/犬; 🐈 cat ネコ/猫; 🐖 pig ブタ/豚; 🐐 goat 山羊/ヤギ; 🐀 rat ネズミ; 🦇 bat コウモリ; 🐸 frog カエル; 🐊 crocodile ワニ; 🐢 turtle カメ/亀; 🦎 lizard トカゲ;"
    "🐍 snake ヘビ; 🐉 dragon ドラゴン; 🐠 tropical_fish 熱帯魚; 🐡 blowfish フグ; 🦈 shark サメ; 🐙 octopus タコ; 🐌 snail かたつむり/カタツムリ; 🦋 butterfly チョウ/蝶; 🐛 bug/caterpillar 毛虫; 🐜 ant アリ;"
    "🐝 honeybee/bee ミツバチ/蜂; 🐞 lady_beetle/ladybug テントウムシ; 🕷 spider クモ; 🦂 scorpion サソリ; 🐒 monkey サル/猿; 🐿 chipmunk/squirrel リス; 🦊 fox キツネ; 🦐 shrimp エビ; 🦀 crab カニ; 🦑 squid イカ;"
    "🐬 dolphin イルカ",
    "頭": "🐎 horse 馬; 🐄 cow 牛/牝牛; 🐪 camel ラクダ; 🐘 elephant ゾウ/象; 🐋 whale クジラ; 🐅 tiger トラ/虎; 🐆 leopard ヒョウ; 🦍 gorilla ゴリラ; 🦏 rhinoceros/rhino サイ; 🦌 deer シカ/鹿",
    "羽": "🐇 rabbit ウサギ; 🐓 rooster おんどり; 🐧 penguin ペンギン; 🕊 dove ハト; 🦅 eagle ワシ; 🦆 duck カモ; 🦉 owl フクロウ; 🦃 turkey 七面鳥",
    "人": "👷 construction_worker 建設作業員; 👶 baby 赤ん坊/赤ちゃん; 👧 girl 女の子; 👦 boy 男の子",
    "台": "🚂 locomotive 蒸気機関車; 🚌 bus バス; 🚑 ambulance 救急車; 🚒 fire_engine/fire_truck 消防車; 🚕 taxi タクシー; 🚗 automobile/car 自動車/車; 🚚 delivery_truck/truck トラック; 🚜 tractor トラクター;"
    "🏍 motorcycle オートバイ/バイク; 🛵 motor_scooter/scooter スクーター; 🚲 bicycle/bike 自転車; 📱 mobile_phone 携帯電話; ☎ telephone/phone 固定電話/電話; 💻 laptop ノートパソコン; 🖨 printer プリンタ; 📷 camera カメラ;"
    "📹 video_camera ビデオカメラ; 📺 television/tv テレビ; 📻 radio ラジオ; 🔬 microscope 顕微鏡; 🔭 telescope 望遠鏡; 🛏 bed ベッド; 🛒 shopping_cart ショッピングカート",
    "機": "✈ airplane/plane 飛行機; 🚁 helicopter ヘリコプター; 🚀 rocket ロケット",
    "隻": "🚢 ship 船; ⛵ sailboat ヨット; 🚤 speedboat スピードボート",
    "本": "🌹 rose バラ; 🌻 sunflower ヒマワリ; 🌷 tulip チューリップ; 🌴 palm_tree ヤシの木; 🌲 evergreen_tree 常緑樹; 🥕 carrot 人参/ニンジン; 🍆 eggplant ナス; 🥒 cucumber キュウリ; 🍌 banana バナナ; 🍭 lollipop ぺろぺろキャンディ;"
    "☂ umbrella 傘; 🎺 trumpet トランペット; 🎸 guitar ギター; 🎻 violin バイオリン; 🎷 saxophone サックス; 🔋 battery 電池; 🔦 flashlight 懐中電灯; ✏ pencil 鉛筆; 🔑 key 鍵; 🔨 hammer ハンマー;"
    "🔧 wrench レンチ; 💉 syringe 注射器; 🥄 spoon スプーン; 🔪 kitchen_knife/knife 包丁; 👔 necktie/tie ネクタイ; 🎤 microphone マイク",
    "枚": "👕 t-shirt Tシャツ; ✉ envelope 封筒; 🍁 maple_leaf かえで; 🍪 cookie クッキー; 🍕 pizza ピザ; 🚪 door ドア; 🛡 shield 盾",
    "着": "👗 dress ワンピース; 👘 kimono 着物",
    "冊": "📖 open_book 開いた本; 📕 closed_book 閉じた本",
    "足": "👟 running_shoe/sneaker スニーカー; 👠 high-heeled_shoe ハイヒール; 👞 man's_shoe 紳士靴",
    "軒": "🏠 house 家; 🏥 hospital 病院; 🏭 factory 工場; ⛪ church 教会",
    "個": "🌵 cactus サボテン; 🍄 mushroom キノコ; 🍅 tomato トマト; 🥑 avocado アボカド; 🥔 potato ジャガイモ; 🍈 melon メロン; 🍉 watermelon スイカ; 🍊 tangerine みかん/ミカン; 🍋 lemon レモン; 🍍 pineapple パイナップル;"
    "🍎 apple リンゴ/りんご; 🍐 pear 洋ナシ; 🍑 peach 桃; 🍓 strawberry いちご/イチゴ; 🥐 croissant クロワッサン; 🍔 hamburger ハンバーガー; 🌭 hot_dog ホットドッグ; 🌮 taco タコス; 🥚 egg 卵; 🍙 rice_ball おにぎり; 🍩 doughnut/donut ドーナツ;"
    "🎂 birthday_cake バースデーケーキ; 🍰 shortcake ショートケーキ; 🍬 candy キャンディ; 🍮 custard プリン; 🍷 wine_glass ワイングラス; 🍺 beer_mug ビールジョッキ; 🍼 baby_bottle ほにゅう瓶; ⌚ watch 腕時計; ⏰ alarm_clock 目覚まし時計;"
    "⛄ snowman 雪だるま; 🎃 jack-o-lantern ハロウィンかぼちゃ; 🎈 balloon 風船; 🎁 wrapped_gift/gift プレゼント; 🎀 ribbon リボン; 🏆 trophy トロフィー; ⚽ soccer_ball サッカーボール; 🏀 basketball バスケットボール; 🥊 boxing_glove ボクシンググローブ;"
    "🎲 game_die サイコロ; 👜 handbag ハンドバッグ; 🎒 backpack バックパック; 👑 crown 王冠; 🎩 top_hat シルクハット; 💍 ring 指輪; 💎 gem_stone/gem 宝石; 🔔 bell ベル; 🥁 drum ドラム; 💡 light_bulb 電球;"
    "📦 package 荷物; 📌 pushpin 押しピン; ⚓ anchor 錨; ⭐ star スター/星; ❤ heart ハート; 🏐 volleyball バレーボール; 👻 ghost お化け; 🤖 robot ロボット; 👽 alien エイリアン;"
    "💀 skull ドクロ; 🗑 wastebasket ごみ箱; 🗿 moai モアイ; 🔮 crystal_ball 水晶玉; 💺 seat 座席; 🎧 headphone ヘッドホン; 🛁 bathtub バスタブ; 🚽 toilet 便器; ⛺ tent テント; 🏺 amphora 壺",
}
IRREGULAR = {
    "tropical fish": "tropical fish", "blowfish": "blowfish", "squid": "squid", "shrimp": "shrimp", "deer": "deer", "maple leaf": "maple leaves",
    "kitchen knife": "kitchen knives", "knife": "knives", "cactus": "cacti", "octopus": "octopuses", "game die": "game dice",
    "moai": "moai",
}  # fmt: skip
ANIMATE = {"匹", "頭", "羽", "人"}

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "grey")
# attributive forms, predicate form
JAPANESE_COLOURS = {
    "red": (("赤い", "赤色の"), "赤い"), "orange": (("オレンジ色の",), "オレンジ色です"), "yellow": (("黄色い", "黄色の"), "黄色い"),
    "green": (("緑の", "緑色の"), "緑色です"), "blue": (("青い", "青色の"), "青い"), "purple": (("紫の", "紫色の"), "紫色です"),
    "pink": (("ピンクの", "ピンク色の"), "ピンク色です"), "brown": (("茶色い", "茶色の"), "茶色い"), "black": (("黒い", "黒の"), "黒い"),
    "grey": (("灰色の", "グレーの"), "灰色です"),
}  # fmt: skip
COLOUR_NOUN_JA = {c: n + "色" for c, n in zip(COLOURS, "赤 オレンジ 黄 緑 青 紫 ピンク 茶 黒 灰".split())}
SIZES = {"small": (("small", "little"), ("小さい", "小さな")), "big": (("big", "large"), ("大きい", "大きな"))}
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
KANJI_NUMBERS = "〇一二三四五六七八九"
# place -> English phrase and variant, Japanese
PLACES = {
    "top left": (("in the top left corner", "at the top left"), ("左上",)),
    "top": (("at the top",), ("上", "上の方")),
    "top right": (("in the top right corner", "at the top right"), ("右上",)),
    "left": (("on the left",), ("左", "左側")),
    "middle": (("in the middle", "in the centre"), ("真ん中", "中央")),
    "right": (("on the right",), ("右", "右側")),
    "bottom left": (("in the bottom left corner", "at the bottom left"), ("左下",)),
    "bottom": (("at the bottom",), ("下", "下の方")),
    "bottom right": (("in the bottom right corner", "at the bottom right"), ("右下",)),
}
# relation -> (forms from the first, forms from the second: the inverse) in each language
RELATIONS = {
    "left_of": ((("to the left of", "left of"), ("to the right of", "right of")), (("左", "左側"), ("右", "右側"))),
    "above": ((("above",), ("below", "under")), (("上", "上の方"), ("下", "下の方"))),
    "in_front_of": ((("in front of",), ("behind",)), (("手前", "前"), ("後ろ",))),
}


@dataclass(frozen=True)
class Noun:
    emoji: str
    english: tuple[str, ...]
    plurals: tuple[str, ...]
    japanese: tuple[str, ...]
    counter: str

    @property
    def name(self) -> str:
        """The key of the noun everywhere: its first English word."""
        return self.english[0]

    @property
    def animate(self) -> bool:
        return self.counter in ANIMATE

    @property
    def colourable(self) -> bool:
        """People have no colour here: none is given to them and none is said of them."""
        return self.counter != "人"


def plural(word: str) -> str:
    if word in IRREGULAR:
        return IRREGULAR[word]
    if re.search("(s|x|ch|sh|potato|tomato)$", word):
        return word + "es"
    return word[:-1] + "ies" if re.search("[^aeiou]y$", word) else word + "s"


def article(words: str) -> str:
    """By sound, for the words of this lexicon."""
    return "an" if re.match("[aeio]|um|ug", words) else "a"


def _read() -> dict[str, Noun]:
    nouns = {}
    for counter, lines in TABLE.items():
        for line in lines.split(";"):
            emoji, english, japanese = line.split()
            words = tuple(english.replace("_", " ").split("/"))
            noun = Noun(emoji, words, tuple(map(plural, words)), tuple(japanese.split("/")), counter)
            nouns[noun.name] = noun
    return nouns


NOUNS: dict[str, Noun] = _read()


@cache
def held_out(kind: str, *key) -> bool:
    """Whether a combination is kept out of training. A rule of names alone, so that every machine agrees.

    ("colour", noun, colour): 2 of each noun's 10 colours. ("count", noun, n): 2 of the counts 2 to 5, for every third
    noun. ("relation", axis, noun, noun): one unordered pair in eight on each axis."""
    if kind == "relation":
        axis, *pair = key
        return hashed("relation", axis, *sorted(pair)) % 8 == 0
    noun, value = key
    if kind == "colour":
        return value in sorted(COLOURS, key=lambda c: hashed("colour", noun, c))[:2]
    if hashed("counted", noun) % 3 or not 2 <= value <= 5:
        return False
    return value in sorted(range(2, 6), key=lambda n: hashed("count", noun, n))[:2]
