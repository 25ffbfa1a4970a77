"""Idioms of the standard library, numpy and pandas, and files: by kind and name, a program and what CPython prints."""

IDIOMS: dict[str, dict[str, tuple[str, str]]] = {
    "regular expressions": {
        "findall": ("import re\nprint(re.findall(r'\\d+', 'a1b22'))", "['1', '22']\n"),
        "named groups": (
            "import re\nm = re.search(r'(?P<k>\\w+)=(?P<v>\\w+)', 'x a=b')\nprint(m.group('k'), m.groupdict())",
            "a {'k': 'a', 'v': 'b'}\n",
        ),
        "substitute": ("import re\nprint(re.sub(r'\\s+', ' ', 'a  b\\n c'))", "a b c\n"),
        "substitute by function": (
            "import re\nprint(re.sub(r'\\d+', lambda m: str(int(m.group()) * 2), 'a1b22'))",
            "a2b44\n",
        ),
        "compiled with function": (
            "import re\np = re.compile(r'[aeiou]')\nprint(p.sub(lambda m: m.group().upper(), 'hello'))",
            "hEllO\n",
        ),
        "finditer": (
            "import re\nprint([(m.start(), m.group()) for m in re.finditer('a.', 'abac')])",
            "[(0, 'ab'), (2, 'ac')]\n",
        ),
        "split": ("import re\nprint(re.split(r'[,;]\\s*', 'a, b;c'))", "['a', 'b', 'c']\n"),
        "flags": (
            "import re\nprint(re.findall(r'^a.*$', 'A1\\na2', re.I | re.M))",
            "['A1', 'a2']\n",
        ),
        "verbose": (
            "import re\nprint(re.findall(r'''\\d+  # digits''', 'a12', re.VERBOSE))",
            "['12']\n",
        ),
    },
    "collections": {
        "Counter": (
            "from collections import Counter\nprint(Counter('abca').most_common(1), Counter(a=1) + Counter(a=2))",
            "[('a', 2)] Counter({'a': 3})\n",
        ),
        "defaultdict": (
            "from collections import defaultdict\nd = defaultdict(list)\nd['a'].append(1)\nprint(dict(d))",
            "{'a': [1]}\n",
        ),
        "deque": (
            "from collections import deque\nd = deque([1, 2], maxlen=2)\nd.append(3)\nd.appendleft(0)\nprint(list(d))",
            "[0, 2]\n",
        ),
        "namedtuple": (
            "from collections import namedtuple\nP = namedtuple('P', 'x y')\np = P(1, 2)\nprint(p.x, p._replace(y=3), p._asdict())",
            "1 P(x=1, y=3) {'x': 1, 'y': 2}\n",
        ),
        "OrderedDict": (
            "from collections import OrderedDict\nd = OrderedDict(a=1, b=2)\nd.move_to_end('a')\nprint(list(d))",
            "['b', 'a']\n",
        ),
        "ChainMap": (
            "from collections import ChainMap\nprint(ChainMap({'a': 1}, {'a': 2, 'b': 3})['b'])",
            "3\n",
        ),
        "merge dicts": (
            "print({'a': 1} | {'b': 2}, {**{'a': 1}, 'b': 2})",
            "{'a': 1, 'b': 2} {'a': 1, 'b': 2}\n",
        ),
        "setdefault": ("d = {}\nd.setdefault('a', []).append(1)\nprint(d)", "{'a': [1]}\n"),
        "sets": (
            "print({1, 2} & {2, 3}, {1} | {2}, {1, 2} - {2}, frozenset([1]) <= {1, 2})",
            "{2} {1, 2} {1} True\n",
        ),
        "heapq": (
            "import heapq\nh = [3, 1, 2]\nheapq.heapify(h)\nprint(heapq.heappop(h), heapq.nlargest(2, [1, 5, 3]))",
            "1 [5, 3]\n",
        ),
        "bisect": (
            "import bisect\nx = [1, 3]\nbisect.insort(x, 2)\nprint(x, bisect.bisect_left(x, 2))",
            "[1, 2, 3] 1\n",
        ),
    },
    "itertools": {
        "chain": (
            "from itertools import chain\nprint(list(chain.from_iterable([[1], [2]])), list(chain('a', 'b')))",
            "[1, 2] ['a', 'b']\n",
        ),
        "groupby": (
            "from itertools import groupby\nprint([(k, list(v)) for k, v in groupby('aab')])",
            "[('a', ['a', 'a']), ('b', ['b'])]\n",
        ),
        "combinations": (
            "from itertools import combinations, permutations, product\nprint(list(combinations('abc', 2)), len(list(permutations('abc'))), list(product([1], 'ab')))",
            "[('a', 'b'), ('a', 'c'), ('b', 'c')] 6 [(1, 'a'), (1, 'b')]\n",
        ),
        "islice and count": (
            "from itertools import count, islice\nprint(list(islice(count(5, 2), 3)))",
            "[5, 7, 9]\n",
        ),
        "accumulate": (
            "from itertools import accumulate\nprint(list(accumulate([1, 2, 3])))",
            "[1, 3, 6]\n",
        ),
        "zip_longest": (
            "from itertools import zip_longest\nprint(list(zip_longest('ab', 'c', fillvalue='-')))",
            "[('a', 'c'), ('b', '-')]\n",
        ),
        "pairwise": (
            "from itertools import pairwise\nprint(list(pairwise([1, 2, 3])))",
            "[(1, 2), (2, 3)]\n",
        ),
        "takewhile": (
            "from itertools import dropwhile, takewhile\nprint(list(takewhile(lambda x: x < 3, [1, 3, 1])), list(dropwhile(lambda x: x < 3, [1, 3, 1])))",
            "[1] [3, 1]\n",
        ),
        "zip and enumerate": (
            "print(list(zip('ab', [1, 2], strict=True)), list(enumerate('a', 1)), dict(zip('a', [1])))",
            "[('a', 1), ('b', 2)] [(1, 'a')] {'a': 1}\n",
        ),
    },
    "functools and operator": {
        "lru_cache": (
            "from functools import lru_cache\n@lru_cache(maxsize=None)\ndef fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\nprint(fib(30))",
            "832040\n",
        ),
        "partial and reduce": (
            "from functools import partial, reduce\nprint(partial(pow, 2)(3), reduce(lambda a, b: a * b, [1, 2, 3]))",
            "8 6\n",
        ),
        "wraps": (
            "from functools import wraps\ndef d(f):\n    @wraps(f)\n    def g(*a):\n        return f(*a) + 1\n    return g\n@d\ndef f(x):\n    return x\nprint(f(1))",
            "2\n",
        ),
        "cmp_to_key": (
            "from functools import cmp_to_key\nprint(sorted([1, 3, 2], key=cmp_to_key(lambda a, b: b - a)))",
            "[3, 2, 1]\n",
        ),
        "itemgetter": (
            "from operator import itemgetter\nprint(sorted([('a', 2), ('b', 1)], key=itemgetter(1)))",
            "[('b', 1), ('a', 2)]\n",
        ),
        "attrgetter": (
            "import operator\nclass P:\n    x = 1\nprint(operator.attrgetter('x')(P()), operator.mul(2, 3))",
            "1 6\n",
        ),
        "function name": ("def f():\n    'doc'\nprint(f.__name__, f.__doc__)", "f doc\n"),
    },
    "csv and io": {
        "DictReader": (
            "import csv, io\nprint([dict(r) for r in csv.DictReader(io.StringIO('a,b\\n1,2\\n'))])",
            "[{'a': '1', 'b': '2'}]\n",
        ),
        "writer": (
            "import csv, io\nout = io.StringIO()\nw = csv.writer(out)\nw.writerow(['a', 'b,c'])\nprint(repr(out.getvalue()))",
            "'a,\"b,c\"\\r\\n'\n",
        ),
        "reader of lines": (
            "import csv\nprint(list(csv.reader('a;b\\n1;\"x;y\"'.splitlines(), delimiter=';')))",
            "[['a', 'b'], ['1', 'x;y']]\n",
        ),
        "print to": (
            "import io\nout = io.StringIO()\nprint('a', 1, file=out)\nprint(out.getvalue().strip())",
            "a 1\n",
        ),
        "lines of": (
            "import io\nprint([line.strip() for line in io.StringIO('a\\nb\\n')])",
            "['a', 'b']\n",
        ),
    },
    "json": {
        "loads": (
            "import json\nprint(json.loads('{\"a\": [1, null, true]}'))",
            "{'a': [1, None, True]}\n",
        ),
        "dumps": (
            "import json\nprint(json.dumps({'b': 1, 'a': 'é'}, indent=1, sort_keys=True, ensure_ascii=False))",
            '{\n "a": "é",\n "b": 1\n}\n',
        ),
        "error": (
            "import json\ntry:\n    json.loads('{')\nexcept json.JSONDecodeError as error:\n    print(type(error).__name__)",
            "JSONDecodeError\n",
        ),
        "default": (
            "import json, datetime\nprint(json.dumps({'d': datetime.date(2024, 1, 2)}, default=str))",
            '{"d": "2024-01-02"}\n',
        ),
        "literal_eval": (
            "import ast\nprint(ast.literal_eval(\"{'a': (1, 2)}\"))",
            "{'a': (1, 2)}\n",
        ),
    },
    "numbers": {
        "statistics": (
            "import statistics\nprint(statistics.mean([1, 2, 4]), statistics.median([3, 1, 2]), round(statistics.stdev([1, 2, 4]), 3))",
            "2.3333333333333335 2 1.528\n",
        ),
        "quantiles": (
            "import statistics\nprint(statistics.quantiles([1, 2, 3, 4, 5], n=4), statistics.mode('aab'))",
            "[1.5, 3.0, 4.5] a\n",
        ),
        "math": (
            "import math\nprint(math.sqrt(16), math.ceil(1.2), math.comb(5, 2), math.isclose(0.1 + 0.2, 0.3), math.prod([2, 3]))",
            "4.0 2 10 True 6\n",
        ),
        "decimal": (
            "from decimal import Decimal, ROUND_HALF_UP\nprint(Decimal('1.005').quantize(Decimal('0.01'), ROUND_HALF_UP), Decimal('0.1') + Decimal('0.2'))",
            "1.01 0.3\n",
        ),
        "fractions": (
            "from fractions import Fraction\nprint(Fraction(1, 3) + Fraction(1, 6))",
            "1/2\n",
        ),
        "random": (
            "import random\nrandom.seed(1)\nx = list(range(5))\nrandom.shuffle(x)\nprint(sorted(x), len(random.sample(x, 2)), random.choice([7]))",
            "[0, 1, 2, 3, 4] 2 7\n",
        ),
        "integers": (
            "print(divmod(7, 2), round(2.5), int('ff', 16), bin(5), 2**100, abs(-3))",
            "(3, 1) 2 255 0b101 1267650600228229401496703205376 3\n",
        ),
        "bits": ("print((6).bit_length(), (1024).to_bytes(2, 'big'))", "3 b'\\x04\\x00'\n"),
        "hash": ("import hashlib\nprint(hashlib.sha256(b'a').hexdigest()[:8])", "ca978112\n"),
    },
    "dates": {
        "parse": (
            "from datetime import datetime\nprint(datetime.strptime('2024-03-05', '%Y-%m-%d').strftime('%d %b %Y'))",
            "05 Mar 2024\n",
        ),
        "difference": (
            "from datetime import date, timedelta\nprint((date(2024, 3, 1) - date(2024, 2, 1)).days, date(2024, 1, 31) + timedelta(days=1))",
            "29 2024-02-01\n",
        ),
        "iso": (
            "from datetime import datetime, timezone\nprint(datetime.fromisoformat('2024-01-02T03:04:05+00:00').astimezone(timezone.utc).isoformat())",
            "2024-01-02T03:04:05+00:00\n",
        ),
        "weekday": (
            "from datetime import date\nprint(date(2024, 1, 1).weekday(), date(2024, 1, 1).strftime('%A'))",
            "0 Monday\n",
        ),
        "UTC": (
            "from datetime import UTC, datetime\nprint(datetime(2024, 1, 1, tzinfo=UTC))",
            "2024-01-01 00:00:00+00:00\n",
        ),
        "calendar": (
            "import calendar\nprint(calendar.monthrange(2024, 2), calendar.month_name[3], calendar.isleap(2024))",
            "(3, 29) March True\n",
        ),
        "week number": (
            "from datetime import date\nprint(date(2024, 1, 1).isocalendar()[1], date(2024, 1, 2).toordinal())",
            "1 738887\n",
        ),
        "zone": (
            "from zoneinfo import ZoneInfo\nfrom datetime import datetime\nprint(datetime(2024, 7, 1, tzinfo=ZoneInfo('UTC')).utcoffset())",
            "0:00:00\n",
        ),
    },
    "async": {
        "gather": (
            "import asyncio\nasync def f(x):\n    return x * 2\nasync def main():\n    return await asyncio.gather(f(1), f(2))\nprint(asyncio.run(main()))",
            "[2, 4]\n",
        ),
        "threads": (
            "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(2) as pool:\n    print(list(pool.map(len, ['a', 'bb'])))",
            "[1, 2]\n",
        ),
    },
    "other modules": {
        "copy": (
            "import copy\nx = [[1]]\ny = copy.deepcopy(x)\ny[0].append(2)\nprint(x, y)",
            "[[1]] [[1, 2]]\n",
        ),
        "base64": (
            "import base64\nprint(base64.b64encode(b'ab').decode(), base64.b64decode('YWI='))",
            "YWI= b'ab'\n",
        ),
        "difflib": (
            "import difflib\nprint(difflib.get_close_matches('appel', ['apple', 'pear']))",
            "['apple']\n",
        ),
        "pprint": ("from pprint import pprint\npprint({'a': [1, 2]})", "{'a': [1, 2]}\n"),
        "time": ("import time\nstart = time.time()\nprint(time.time() - start < 60)", "True\n"),
        "uuid": ("import uuid\nprint(uuid.UUID(int=5))", "00000000-0000-0000-0000-000000000005\n"),
        "logging": (
            "import logging\nlogging.getLogger('x').setLevel(logging.INFO)\nprint(logging.INFO)",
            "20\n",
        ),
        "warnings": ("import warnings\nwarnings.filterwarnings('ignore')\nprint('ok')", "ok\n"),
        "sys": (
            "import sys\nprint(sys.maxsize > 2**31, sys.version_info >= (3, 10))",
            "True True\n",
        ),
        "types": ("from types import SimpleNamespace\nprint(SimpleNamespace(a=1).a)", "1\n"),
        "xml": (
            "import xml.etree.ElementTree as ET\nprint(ET.fromstring('<a><b>1</b></a>').find('b').text)",
            "1\n",
        ),
    },
    "numpy and pandas": {
        "numpy mean": ("import numpy as np\nprint(float(np.array([1, 2, 3]).mean()))", "2.0\n"),
        "numpy shape": (
            "import numpy as np\nprint(np.arange(6).reshape(2, 3).sum(axis=0).tolist())",
            "[3, 5, 7]\n",
        ),
        "pandas group": (
            "import pandas as pd\nprint(pd.DataFrame({'k': ['a', 'a', 'b'], 'v': [1, 2, 3]}).groupby('k')['v'].sum().to_dict())",
            "{'a': 3, 'b': 3}\n",
        ),
        "pandas csv": (
            "import io\nimport pandas as pd\nprint(pd.read_csv(io.StringIO('a,b\\n1,2\\n'))['b'].tolist())",
            "[2]\n",
        ),
    },
    "files": {
        "write and read": (
            "with open('note.txt', 'w') as f:\n    f.write('a\\nb\\n')\nwith open('note.txt') as f:\n    print(f.read().split())",
            "['a', 'b']\n",
        ),
        "pathlib": (
            "from pathlib import Path\nPath('p.txt').write_text('x')\nprint(Path('p.txt').read_text(), Path('p.txt').suffix)",
            "x .txt\n",
        ),
        "os.path": (
            "import os\nprint(os.path.join('a', 'b.txt'), os.path.splitext('a.txt')[1])",
            "a/b.txt .txt\n",
        ),
        "json file": (
            "import json\nwith open('d.json', 'w') as f:\n    json.dump({'a': 1}, f)\nprint(json.load(open('d.json')))",
            "{'a': 1}\n",
        ),
        "temporary": (
            "import tempfile\nwith tempfile.TemporaryDirectory() as folder:\n    print(bool(folder))",
            "True\n",
        ),
        "sqlite": (
            "import sqlite3\ndb = sqlite3.connect(':memory:')\ndb.execute('create table t (x)')\ndb.execute('insert into t values (1)')\nprint(db.execute('select x from t').fetchall())",
            "[(1,)]\n",
        ),
    },
}
