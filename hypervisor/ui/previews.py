"""What happens between an action and its confirmation: its consequences are shown first."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.views.generic import TemplateView

from hypervisor.ui.data.preview import figures, own_lines, sections
from hypervisor.ui.forms import NoteForm, OptionForm, option_form
from scheduling.insight.operator_actions import Action, Change
from scheduling.insight.preview import Preview, Touched, carry_out, preview


class PreviewMixin(TemplateView):
    """A page that shows what `action` on `rows` would lead to, and carries it out.

    Its template includes `ui/preview.html`. `subjects` are the ids of the rows, also of those that
    no longer exist. `kept` are parameters of the query that the form of the
    action's options passes on.
    """

    action: Action
    subjects: Sequence[int]
    rows: Sequence[Any]
    kept: Sequence[tuple[str, str]] = ()

    def way_back(self) -> str:
        """Return the address to which the person returns when it is done, or not to be done."""
        raise NotImplementedError(f"{self} must name the page to return to.")

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        form = self._form()
        if form is not None and (why := self._objections()):
            for reason in why:
                messages.warning(request, reason)
            return HttpResponseRedirect(self.way_back())
        result = preview(self._change(form)) if form is None or form.is_valid() else None
        return self._page(form, result)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Carry out what was shown, or show the new preview if the consequences have changed."""
        form = self._form()
        if not self.rows or (form is not None and not form.is_valid()):
            return self.get(request, *args, **kwargs)
        note = NoteForm(request.POST)
        if not note.is_valid():
            messages.error(
                request, f"Note: {note.errors['note'].as_data()[0].messages[0]} Nothing was done."
            )
            return self._page(form, preview(self._change(form)))
        done, result = carry_out(
            self._change(form), shown=request.POST.get("shown", ""), note=note.cleaned_data["note"]
        )
        if not done:
            messages.warning(
                request,
                "Nothing was done: the situation has changed. This is what would happen now.",
            )
            return self._page(form, result)
        for level, text in _outcome(self.action, result.touched):
            messages.add_message(request, level, text)
        return HttpResponseRedirect(self.way_back())

    def _objections(self) -> list[str]:
        """Return why the action is refused, whatever its options; none if it is possible for a row.

        Otherwise, a person would fill in the form for nothing.
        """
        why = [self.action.objection(row) for row in self.rows]
        return list(dict.fromkeys(why)) if all(why) else []

    def _change(self, form: OptionForm | None) -> Change:
        options = form.options() if form else {}
        actor = self.request.user.get_username()
        return Change(self.action, tuple(sorted(self.subjects)), actor, options)

    def _form(self) -> OptionForm | None:
        return option_form(self.action.needs, self.request.GET, self.rows)

    def _page(self, form: OptionForm | None, result: Preview | None) -> HttpResponse:
        return self.render_to_response(
            self.get_context_data(
                action=self.action,
                form=form,
                rows=self.rows,
                kept=self.kept,
                preview=result,
                lines=dict(own_lines(result)) if result else {},
                sections=list(sections(result)) if result else [],
                figures=figures(result) if result else {},
                reasons=result is not None and any(row.reason for row in result.touched),
                back=self.way_back(),
                note=self.request.POST.get("note", ""),
            )
        )


def _outcome(action: Action, touched: tuple[Touched, ...]) -> Iterator[tuple[int, str]]:
    done = [row.name for row in touched if not row.refused]
    if len(done) == 1:
        yield messages.SUCCESS, f"{done[0]}: {action.done}."
    elif done:
        yield messages.SUCCESS, f"{len(done)} {action.subject}s: {action.done}."
    for row in touched:
        if row.refused:
            yield messages.WARNING, row.reason
