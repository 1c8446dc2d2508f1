from pathlib import Path

import pytest

from agent_sidecar.adapters.lead_csv import COLUMNS, LeadRow, read_leads
from agent_sidecar.cli import run
from agent_sidecar.domain.types import Lead
from agent_sidecar.errors import LeadsFileInvalid


def rows(tmp_path: Path, text: str, *, region: str = "US") -> list[LeadRow]:
    file = tmp_path / "leads.csv"
    file.write_text(text, encoding="utf-8")
    return list(read_leads(file, region=region))


def test_a_row_is_a_lead_and_other_columns_are_kept_beside(tmp_path: Path):
    (row,) = rows(
        tmp_path,
        "\ufeffExternal ID,First Name,phone,country,status,Webinar date\n"
        "crm-1,Ada,(212) 555-0142,us,contacted,2026-02-11\n",
    )
    assert row == LeadRow(
        line=2,
        lead=Lead(
            external_id="crm-1",
            first_name="Ada",
            phone="+12125550142",
            country="US",
            status="contacted",
            extra={"webinar_date": "2026-02-11"},
        ),
    )


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_what_is_between_cells_is_what_the_header_has(tmp_path: Path, delimiter: str):
    text = f"email{delimiter}city\nada@example.com{delimiter}Oslo\n"
    (row,) = rows(tmp_path, text)
    assert (row.lead.email, row.lead.city) == ("ada@example.com", "Oslo")


def test_a_number_without_country_code_is_of_the_region(tmp_path: Path):
    (row,) = rows(tmp_path, "phone\n020 7946 0958\n", region="GB")
    assert row.lead.phone == "+442079460958"


def test_a_lead_of_a_withheld_number_needs_another_name(tmp_path: Path):
    (named, nobody) = rows(tmp_path, "phone,email\nanonymous,ada@example.com\nanonymous,\n")
    assert (named.lead.phone, named.wrong) == (None, None)
    assert nobody.wrong is not None


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ("call me,,,,new", "phone: is no phone number"),
        (",,,,new", "names nobody: give lead_id, external_id, phone or email"),
        (",ada,,,new", "email: is no address"),
        (",a@b.c,Mars/Base,,new", "timezone: there is no zone 'Mars/Base'"),
        (",a@b.c,,USA,new", "country: must be two letters"),
        (",a@b.c,,,won", "status: 'won' is none of new, contacted"),
        (",a@b.c,,,new,x", "has 6 cells, the header has 5 columns"),
    ],
)
def test_a_wrong_row_says_what_is_wrong_with_it(tmp_path: Path, row: str, wrong: str):
    good, bad = rows(tmp_path, f"phone,email,timezone,country,status\n,b@c.d,,,\n{row}\n")
    assert good.wrong is None
    assert bad.line == 3
    assert bad.wrong is not None
    assert bad.wrong.startswith(wrong)


def test_lines_are_counted_as_an_editor_counts_them(tmp_path: Path):
    text = 'email,city\n"a@b.c","New\nYork"\n\n,Oslo\n'
    first, second = rows(tmp_path, text)
    assert (first.line, first.lead.city) == (2, "New\nYork")
    assert (second.line, second.wrong is None) == (5, False)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "must name the columns"),
        ("name,city\nAda,Oslo\n", "one of them lead_id, external_id, phone or email"),
        ("email,Email\na@b.c,a@b.c\n", "column 'email' is there twice"),
        ('email\n"a@b.c\n', "line 2: is no CSV"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, text: str, wrong: str):
    with pytest.raises(LeadsFileInvalid, match=wrong):
        rows(tmp_path, text)


def test_a_missing_file_and_one_in_another_encoding_say_so(tmp_path: Path):
    with pytest.raises(LeadsFileInvalid, match="No such file"):
        list(read_leads(tmp_path / "none.csv"))
    file = tmp_path / "latin.csv"
    file.write_bytes("email,city\na@b.c,Malmö\n".encode("latin-1"))
    with pytest.raises(LeadsFileInvalid, match="save it as UTF-8"):
        list(read_leads(file))


@pytest.mark.usefixtures("own_logging")
def test_help_explains_every_column(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        run(["leads", "import", "--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert [name for name in COLUMNS if f"\n  {name}" not in said] == []
